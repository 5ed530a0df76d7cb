import type { MemoryView } from '@iommukit/platform';
import type { TableShape } from '../table-shape.ts';

/** Both lanes of memory that nobody initialised. */
export const GARBAGE = 0xdead_beef;

interface Known {
  readonly table: number;
  readonly level: number;
  /** What its entries translate: bytes from the start of the first root. */
  readonly offset: number;
  readonly bytes: number;
  /** Tables below, by the address of the entry that points there. */
  readonly below: Map<number, Known>;
}

interface Unlinked {
  readonly start: number;
  readonly end: number;
  readonly since: number;
}

/** What breaks a rule is told here. */
export type Broken = (rule: string, expected: string, got: string) => never;

/**
 * Follows every store to the tables and knows at each moment which ones a device can reach: that none is linked half built, that in
 * non-coherent mode nothing is linked or invalidated before it is clean, and that none is freed before the flush that covers it.
 */
export class TableWatch {
  /** Links of tables seen. */
  links = 0;
  /** Stores that the counters of the table should have counted. */
  stores = 0;
  cleanCalls = 0;
  cleanLines = 0;
  readonly #cpu: MemoryView;
  readonly #device: MemoryView;
  readonly #broken: Broken;
  #shape: TableShape | undefined;
  #roots: Known[] = [];
  readonly #known = new Map<number, Known>();
  readonly #unlinked = new Map<number, Unlinked>();
  readonly #dirty = new Set<number>();
  readonly #flushes: Unlinked[] = [];
  #time = 0;
  /** The table of the last store. */
  #last: Known | undefined;

  constructor(cpu: MemoryView, device: MemoryView, broken: Broken) {
    this.#cpu = cpu;
    this.#device = device;
    this.#broken = broken;
  }

  /** Follows a table from now on. */
  start(shape: TableShape): void {
    this.#shape = shape;
    this.#sync();
  }

  /** Looks at the tables as they are now: nothing that a device could act on waits in the cache. */
  settle(moment: string): void {
    this.#sync();
    this.#cleaned(moment);
  }

  onStore(pa: number, bytes: number, content: 'zero' | 'other'): void {
    const shape = this.#shape;
    if (shape === undefined) return;
    this.#sync();
    const owner = this.#owner(pa);
    if (owner === undefined) {
      // Fresh tables are zeroed, which is not counted; what else is stored there is.
      if (content === 'other') this.stores++;
      return;
    }
    this.stores++;
    const { entryBytes } = shape;
    if (bytes < entryBytes)
      this.#broken('an entry is stored whole', `${entryBytes} bytes`, `${bytes} bytes`);
    // A compare-and-swap of a doubleword stores the other 32-bit entry as it was.
    for (let at = pa; at < pa + bytes; at += entryBytes) {
      this.#dirty.add(at);
      this.#look(shape, owner, at);
    }
  }

  onClean(pa: number, bytes: number): void {
    if (this.#shape === undefined) return;
    const first = Math.floor(pa / 64);
    const end = Math.ceil((pa + bytes) / 64);
    this.cleanCalls++;
    if (bytes > 0) this.cleanLines += end - first;
    for (const at of this.#dirty)
      if (Math.floor(at / 64) >= first && Math.floor(at / 64) < end) this.#dirty.delete(at);
  }

  /** The device's translations of [start, end) were invalidated. */
  onFlush(start: number, end: number): void {
    if (this.#shape === undefined) return;
    this.settle('an invalidation');
    this.#flushes.push({ start, end, since: ++this.#time });
  }

  onFree(pa: number): void {
    if (this.#shape === undefined) return;
    this.#sync();
    if (this.#known.has(pa))
      this.#broken('a table is unlinked before it is freed', 'unlinked', `0x${pa.toString(16)}`);
    const range = this.#unlinked.get(pa);
    if (range === undefined) return;
    this.#unlinked.delete(pa);
    const { start, end, since } = range;
    if (!this.#flushes.some((f) => f.since > since && f.start <= start && f.end >= end))
      this.#broken(
        'a table is freed after the flush that covers it',
        `a flush of [0x${start.toString(16)}, 0x${end.toString(16)})`,
        'none',
      );
  }

  /** The tables are about to be freed all together: nothing is reachable any more. */
  stop(): void {
    this.#shape = undefined;
  }

  /** Follows a change of the top tables, which no store shows. */
  #sync(): void {
    const shape = this.#shape;
    if (shape === undefined) return;
    const { roots, topLevel } = shape;
    if (
      roots.length === this.#roots.length &&
      this.#roots.every((root, i) => root.table === roots[i] && root.level === topLevel)
    )
      return;
    const span = shape.entryCount(topLevel) * shape.entrySpan(topLevel);
    this.#known.clear();
    this.#roots = roots.map((root, i) => this.#enter(shape, root, topLevel, i * span));
  }

  #owner(pa: number): Known | undefined {
    const last = this.#last;
    if (last !== undefined && pa >= last.table && pa < last.table + last.bytes)
      if (this.#known.get(last.table) === last) return last;
    for (const known of this.#known.values())
      if (pa >= known.table && pa < known.table + known.bytes) {
        this.#last = known;
        return known;
      }
    return undefined;
  }

  #load(shape: TableShape, view: MemoryView, at: number): { lo: number; hi: number } {
    if (shape.entryBytes === 4) return { lo: view.load32(at), hi: 0 };
    const lo = view.load64(at);
    return { lo, hi: view.hi };
  }

  /** A table that just became reachable. */
  #enter(shape: TableShape, table: number, level: number, offset: number): Known {
    const { entryBytes } = shape;
    const bytes = shape.entryCount(level) * entryBytes;
    const known: Known = { table, level, offset, bytes, below: new Map() };
    if (this.#known.has(table))
      this.#broken('a table is linked once', 'one link', `a second to 0x${table.toString(16)}`);
    this.#known.set(table, known);
    for (let at = table; at < table + bytes; at += entryBytes) {
      const { lo, hi } = this.#load(shape, this.#cpu, at);
      if (this.#device !== this.#cpu) {
        const seen = this.#load(shape, this.#device, at);
        if (!this.#dirty.has(at) && !alike(shape, level, seen, { lo, hi }))
          this.#broken(
            'a linked table is clean',
            word(lo, hi),
            `the device sees ${word(seen.lo, seen.hi)} at +${at - table}`,
          );
      }
      if ((lo !== 0 || hi !== 0) && shape.kind(level, lo, hi) !== 'empty')
        this.#look(shape, known, at);
    }
    return known;
  }

  /** An entry of a reachable table has a new value. */
  #look(shape: TableShape, owner: Known, at: number): void {
    const { lo, hi } = this.#load(shape, this.#cpu, at);
    const { level } = owner;
    const kind = shape.kind(level, lo, hi);
    if (kind === 'invalid' || (lo === GARBAGE && (hi === GARBAGE || shape.entryBytes === 4)))
      this.#broken('a reachable entry is sound', 'an entry of the format', word(lo, hi));
    const isTable = kind === 'table' && level !== shape.leafLevel;
    const target = isTable ? shape.tableAddress(level, lo, hi) : -1;
    const old = owner.below.get(at);
    if (old !== undefined && old.table !== target) {
      owner.below.delete(at);
      this.#leave(shape, old);
    }
    if (isTable && old?.table !== target) {
      this.links++;
      const span = shape.entrySpan(level);
      const index = (at - owner.table) / shape.entryBytes;
      const step = shape.leafLevel > shape.topLevel ? 1 : -1;
      owner.below.set(at, this.#enter(shape, target, level + step, owner.offset + index * span));
    }
  }

  #leave(shape: TableShape, gone: Known): void {
    this.#known.delete(gone.table);
    const span = shape.entryCount(gone.level) * shape.entrySpan(gone.level);
    const start = shape.iovaAt(gone.offset);
    this.#unlinked.set(gone.table, { start, end: start + span, since: ++this.#time });
    for (const below of gone.below.values()) this.#leave(shape, below);
  }

  /** Nothing that a device could act on waits in the cache. */
  #cleaned(moment: string): void {
    const shape = this.#shape;
    if (shape === undefined || this.#device === this.#cpu) return;
    for (const at of this.#dirty) {
      const owner = this.#owner(at);
      if (owner === undefined) continue;
      const cpu = this.#load(shape, this.#cpu, at);
      const device = this.#load(shape, this.#device, at);
      if (!alike(shape, owner.level, cpu, device))
        this.#broken(
          `entries are clean before ${moment}`,
          word(cpu.lo, cpu.hi),
          `the device sees ${word(device.lo, device.hi)}`,
        );
    }
    this.#dirty.clear();
  }
}

function word(lo: number, hi: number): string {
  return `0x${hi.toString(16)}_${lo.toString(16).padStart(8, '0')}`;
}

/** Same kind and target: software marks need no clean. */
function alike(
  shape: TableShape,
  level: number,
  a: { lo: number; hi: number },
  b: { lo: number; hi: number },
): boolean {
  const kind = shape.kind(level, a.lo, a.hi);
  if (kind !== shape.kind(level, b.lo, b.hi)) return false;
  if (kind === 'table')
    return shape.tableAddress(level, a.lo, a.hi) === shape.tableAddress(level, b.lo, b.hi);
  return kind !== 'leaf' || (a.lo === b.lo && a.hi === b.hi);
}
