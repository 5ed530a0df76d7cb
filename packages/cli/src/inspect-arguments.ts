import { fromBigInt, parseHex64, type U64 } from '@iommukit/bits';
import { InputError } from '@iommukit/captures';
import { InvalidArgumentError } from 'commander';

const NUMBER = /^(?:0x[0-9a-f]{1,16}|[0-9]{1,20})$/i;

/** A 64-bit value: decimal, or hexadecimal with 0x. */
export function wide(text: string): U64 {
  const value = NUMBER.test(text) ? BigInt(text) : 2n ** 64n;
  if (value >= 2n ** 64n)
    throw new InvalidArgumentError('Expected a 64-bit number, decimal or with 0x.');
  return parseHex64(`0x${value.toString(16)}`) ?? fromBigInt(value);
}

type NumberOf = (text: string) => number;

function bounded(bits: number, what: string): NumberOf {
  return (text) => {
    const value = NUMBER.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
    if (value >= 2 ** bits)
      throw new InvalidArgumentError(`Expected ${what} of ${bits} bits, decimal or with 0x.`);
    return value;
  };
}

/** Arguments and options of numbers. */
export const sidOf: NumberOf = bounded(32, 'a StreamID');
export const ssidOf: NumberOf = bounded(20, 'a SubstreamID');
export const countOf: NumberOf = bounded(32, 'a count');

/** An argument whose meaning depends on the others, in the words of a bad argument. */
export function wideArgument(text: string): void {
  refused(text, 'iova', () => wide(text));
}

export function ssidArgument(text: string): void {
  refused(text, 'ssid', () => ssidOf(text));
}

function refused(text: string, name: string, parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    if (error instanceof InvalidArgumentError)
      throw new InputError({
        file: `argument ${name} '${text}'`,
        expected: lowered(error.message),
      });
    throw error;
  }
}

function lowered(message: string): string {
  return message.replace(/^Expected /, '').replace(/\.$/, '');
}
