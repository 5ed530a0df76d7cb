import { IommuError } from './iommu-error.ts';
import { hex } from './u64.ts';

declare const brand: unique symbol;

/**
 * A number that is tagged with what it counts; no run-time cost.
 * @example type Millis = Branded<number, 'Millis'>;
 */
export type Branded<T, B extends string> = T & { readonly [brand]: B };

/**
 * I/O virtual address, bytes.
 * @example const iova = toIova(0xffff_f000);
 */
export type Iova = Branded<number, 'Iova'>;
/**
 * Physical address, bytes.
 * @example const paddr = toPaddr(0x4000_0000);
 */
export type Paddr = Branded<number, 'Paddr'>;
/**
 * Page frame number: an address divided by the granule.
 * @example const pfn = toPfn(0xfffff);
 */
export type Pfn = Branded<number, 'Pfn'>;
/**
 * StreamID of a device, 0 to 2^32-1.
 * @example const sid = toStreamId(0x300);
 */
export type StreamId = Branded<number, 'StreamId'>;
/**
 * Address space identifier.
 * @example const asid = toAsid(1);
 */
export type Asid = Branded<number, 'Asid'>;

const LIMIT = 2 ** 64;

function exact(value: number): boolean {
  // Above 2^53 only multiples of 2^11 are sure to be what the caller wrote.
  return (
    Number.isInteger(value) &&
    value >= 0 &&
    value < LIMIT &&
    (value <= Number.MAX_SAFE_INTEGER || value % 2048 === 0)
  );
}

/**
 * An IOVA, or `undefined` when the value is not an exact integer below 2^64.
 * @example tryIova(-1) // undefined
 */
export function tryIova(value: number): Iova | undefined {
  return exact(value) ? (value as Iova) : undefined;
}

/**
 * An IOVA; throws {@link AddressError} when the value is not an exact integer below 2^64.
 * @example toIova(0xffff_f000)
 */
export function toIova(value: number): Iova {
  if (!exact(value)) throw new AddressError({ kind: 'IOVA', value });
  return value as Iova;
}

/**
 * The low `bits` bits of a value as an IOVA; says that it cuts. Valid for an exact integer 0 <= value < 2^64, 0 <= bits <= 64.
 * @example truncIova(0x1_0000_1000, 32) // 0x1000
 */
export function truncIova(value: number, bits: number): Iova {
  return (value % 2 ** bits) as Iova;
}

/**
 * A physical address, or `undefined` when the value is not an exact integer below 2^64.
 * @example tryPaddr(0.5) // undefined
 */
export function tryPaddr(value: number): Paddr | undefined {
  return exact(value) ? (value as Paddr) : undefined;
}

/**
 * A physical address; throws {@link AddressError} when the value is not an exact integer below 2^64.
 * @example toPaddr(0x4000_0000)
 */
export function toPaddr(value: number): Paddr {
  if (!exact(value)) throw new AddressError({ kind: 'physical address', value });
  return value as Paddr;
}

/**
 * A page frame number; throws {@link AddressError} unless 0 <= value <= 2^52 (2^52 is an exclusive end).
 * @example toPfn(0xfffff)
 */
export function toPfn(value: number): Pfn {
  if (!Number.isInteger(value) || value < 0 || value > 2 ** 52)
    throw new AddressError({ kind: 'page frame number', value });
  return value as Pfn;
}

/**
 * A StreamID; throws {@link AddressError} unless it is an integer below 2^32.
 * @example toStreamId(0x300)
 */
export function toStreamId(value: number): StreamId {
  if (value >>> 0 !== value) throw new AddressError({ kind: 'StreamID', value });
  return value as StreamId;
}

/**
 * An ASID; throws {@link AddressError} unless it is an integer below 2^16.
 * @example toAsid(1)
 */
export function toAsid(value: number): Asid {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff)
    throw new AddressError({ kind: 'ASID', value });
  return value as Asid;
}

/**
 * A value is outside the range of its address or identifier type; code `ADDRESS_RANGE`.
 * @example try { toIova(-1); } catch (e) { (e as AddressError).operands.value; }
 */
export class AddressError extends IommuError<{ kind: string; value: number }> {
  override readonly name = 'AddressError';
  constructor(operands: { kind: string; value: number }) {
    super(
      'ADDRESS_RANGE',
      operands,
      `${Number.isInteger(operands.value) ? hex(operands.value) : operands.value} is no ${operands.kind}`,
      'Pass an integer in range; split off low bits above 2^53',
    );
  }
}
