import { hex, IommuError } from '@iommukit/bits';
import type { SnapshotSegment } from '@iommukit/captures';
import type { MemoryView } from '@iommukit/platform';

/** Words of memory, as the SMMU reads them. */
const LITTLE_ENDIAN = true;

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly data: DataView;
}

/**
 * The memory of a dump as a device sees it. What the dump does not hold is absent, never zero: `isBacked` is false there and a load
 * throws {@link AbsentMemory}. Stores go over a copy of their own and leave the dump as it is.
 * @example const memory = new DumpMemory(snapshot.segments); memory.isBacked(0x4633_b000)
 */
export class DumpMemory implements MemoryView {
  hi = 0;
  readonly blockBytes: number = 4096;
  /** Bytes that the dump holds. */
  readonly bytes: number;
  readonly #pieces: readonly Piece[];
  readonly #stored = new Map<number, { readonly lo: number; readonly hi: number }>();
  #last: Piece | undefined;
  #watch: Watch | undefined;

  constructor(segments: readonly SnapshotSegment[]) {
    this.#pieces = segments
      .map(({ physAddr, length, bytes }) => ({
        start: physAddr,
        end: physAddr + length,
        data: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      }))
      .sort((a, b) => a.start - b.start);
    this.bytes = segments.reduce((sum, { length }) => sum + length, 0);
  }

  load64(pa: number): number {
    const stored = this.#stored.get(pa);
    if (this.#watch !== undefined) this.#watch.loads.push(pa);
    if (stored !== undefined) {
      this.hi = stored.hi;
      return stored.lo;
    }
    const piece = this.#piece(pa, 8);
    if (piece === undefined) throw new AbsentMemory({ address: pa });
    const at = pa - piece.start;
    this.hi = piece.data.getUint32(at + 4, LITTLE_ENDIAN);
    return piece.data.getUint32(at, LITTLE_ENDIAN);
  }

  store64(pa: number, lo: number, hi: number): void {
    this.#stored.set(pa, { lo: modulo32(lo), hi: modulo32(hi) });
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    const now = this.load64(pa);
    if (now !== modulo32(oldLo) || this.hi !== modulo32(oldHi)) return false;
    this.store64(pa, lo, hi);
    return true;
  }

  load32(pa: number): number {
    const upper = pa % 8 !== 0;
    const lo = this.load64(upper ? pa - 4 : pa);
    return upper ? this.hi : lo;
  }

  store32(pa: number, value: number): void {
    const upper = pa % 8 !== 0;
    const at = upper ? pa - 4 : pa;
    const lo = this.isBacked(at) ? this.load64(at) : 0;
    const hi = this.isBacked(at) ? this.hi : 0;
    this.store64(at, upper ? lo : value, upper ? value : hi);
  }

  /** Nothing to do: this view is coherent. */
  clean(_pa: number, _bytes: number): void {}

  /** True when the dump holds the doubleword at `pa`, or it was stored since. */
  isBacked(pa: number): boolean {
    const backed = this.#stored.has(pa - (pa % 8)) || this.#piece(pa, 1) !== undefined;
    if (!backed && this.#watch !== undefined) this.#watch.absent.add(pa);
    return backed;
  }

  /** Every access goes through the methods above. */
  lanes(_pa: number): undefined {
    return undefined;
  }

  /** Every access goes through the methods above. */
  block(_lo: number, _hi: number): undefined {
    return undefined;
  }

  /** Forgets what was stored since the dump. */
  restore(): void {
    this.#stored.clear();
  }

  /** The parts of [start, end) that the dump holds, in order, cut to multiples of 8. */
  *held(start: number, end: number): Generator<{ readonly start: number; readonly end: number }> {
    for (const piece of this.#pieces) {
      const from = Math.max(piece.start + ((8 - (piece.start % 8)) % 8), start);
      const to = Math.min(piece.end - (piece.end % 8), end);
      if (from < to) yield { start: from, end: to };
    }
  }

  /** Runs `work` and notes what it loads and what it asks for in vain. */
  watching(work: () => void): Watch {
    const watch: Watch = { loads: [], absent: new Set() };
    this.#watch = watch;
    try {
      work();
    } finally {
      this.#watch = undefined;
    }
    return watch;
  }

  #piece(pa: number, bytes: number): Piece | undefined {
    const last = this.#last;
    if (last !== undefined && pa >= last.start && pa + bytes <= last.end) return last;
    let [low, high] = [0, this.#pieces.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#pieces[middle] as Piece).end <= pa) low = middle + 1;
      else high = middle;
    }
    const piece = this.#pieces[low];
    if (piece === undefined || pa < piece.start || pa + bytes > piece.end) return undefined;
    this.#last = piece;
    return piece;
  }
}

/**
 * What was loaded, in order, and which addresses were asked for that the dump lacks.
 * @example const { loads }: Watch = memory.watching(() => model.translate(access));
 */
export interface Watch {
  readonly loads: number[];
  readonly absent: Set<number>;
}

/**
 * A load of memory that a dump does not hold; code `ABSENT_MEMORY`.
 * @example try { memory.load64(0); } catch (e) { (e as AbsentMemory).operands.address; }
 */
export class AbsentMemory extends IommuError<{ address: number }> {
  override readonly name = 'AbsentMemory';
  constructor(operands: { address: number }) {
    super(
      'ABSENT_MEMORY',
      operands,
      `the dump does not hold ${hex(operands.address)}`,
      'Ask isBacked first',
    );
  }
}

function modulo32(n: number): number {
  const rest = n % 2 ** 32;
  return rest < 0 ? rest + 2 ** 32 : rest;
}
