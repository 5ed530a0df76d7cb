import { hex, hex64 } from '@iommukit/bits';

/** Members of events and reserved fields that are 64-bit values although they are numbers. */
const WIDE = new Set(['fetchAddress', 'ipa']);

function isLanes(value: object): value is { readonly lo: number; readonly hi: number } {
  const keys = Object.keys(value);
  return keys.length === 2 && 'lo' in value && 'hi' in value;
}

/** A value for JSON: 64-bit values become `"0x..."`, what is absent becomes null. */
function plain(key: string, value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number') return WIDE.has(key) ? hex(value) : value;
  if (typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((item) => plain(key, item));
  if (isLanes(value)) return hex64(value);
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      key === 'stray' && name === 'value' ? hex(member as number) : plain(name, member),
    ]),
  );
}

/** One JSON object on one line. */
export function inspectJson(result: object): string {
  return `${JSON.stringify(plain('', result))}\n`;
}
