/** Something that a layer below was asked to do, as the recordings write it. */
export type Call = (string | number)[];

export function h(value: number): string {
  return `0x${value.toString(16)}`;
}
