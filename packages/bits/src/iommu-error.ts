/**
 * Misuse of an API, or a feature that is not modelled: never thrown on a modelled path (those return an errno or an event).
 * `code` is stable and may be matched by programs; `operands` are the values that were refused; `fix` says what to do instead.
 * @example new IommuError('ADDRESS_SIZE', { value: 5 }, 'address 0x5 is not page aligned', 'Pass a page-aligned address').code // 'ADDRESS_SIZE'
 */
export class IommuError<O extends object = object> extends Error {
  override readonly name: string = 'IommuError';
  readonly code: string;
  readonly operands: O;
  readonly fix: string;

  constructor(code: string, operands: O, what: string, fix: string) {
    super(`${code}: ${what}. ${fix}.`);
    this.code = code;
    this.operands = operands;
    this.fix = fix;
  }
}
