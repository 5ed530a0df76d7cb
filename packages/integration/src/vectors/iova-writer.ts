import type { Prng } from '@iommukit/platform';
import { IovaRun } from './iova-vectors.ts';
import { hex, type JsonRow } from './vector-values.lanes.ts';

// Makes vectors of kind `iova` from what our allocator does.

const CPUS = 2;
/** Highest pfn below 4 GiB and below 2^48, in pages of 4 KiB; and one far lower. */
const LIMITS = ['0xfffff', '0xfffffffff', '0x3ffff'] as const;

/** Chooses the inputs of operations; frees only what is allocated. */
class Inputs {
  readonly #prng: Prng;
  readonly #fast: { pfn: string; size: number }[] = [];
  readonly #plain: string[] = [];

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  next(): JsonRow {
    const roll = this.#prng.below(100);
    const cpu = this.#prng.below(CPUS);
    const size = 1 + this.#prng.below(this.#prng.below(4) === 0 ? 64 : 8);
    const limit = LIMITS[this.#prng.below(LIMITS.length)];
    const yes = this.#prng.below(2) === 0;
    if (roll < 45) return { op: 'alloc_fast', cpu, size, limit, flush: yes };
    if (roll < 80) {
      const [freed] = this.#fast.splice(this.#prng.below(this.#fast.length), 1);
      if (freed !== undefined) return { op: 'free_fast', cpu, ...freed };
    }
    if (roll < 88) return { op: 'alloc', size, limit, aligned: yes };
    if (roll < 94) {
      const [pfn] = this.#plain.splice(this.#prng.below(this.#plain.length), 1);
      if (pfn !== undefined) return { op: 'free', pfn };
    }
    if (roll < 97) return { op: 'find', pfn: this.#fast[0]?.pfn ?? '0xfffff' };
    return { op: 'depot_work' };
  }

  /** Learns what an operation allocated. */
  done(op: JsonRow): void {
    if (op['op'] === 'alloc_fast' && op['pfn'] !== '0x0')
      this.#fast.push({ pfn: op['pfn'], size: op['size'] });
    if (op['op'] === 'alloc' && op['ret'] !== null) this.#plain.push(op['ret'][0]);
  }
}

/** `[lo, hi, n]` for n ranges of one size back to back. */
function runLengths(tree: readonly [string, string][]): [string, string, number?][] {
  const rows: [string, string, number?][] = [];
  let next = -1;
  let size = 0;
  for (const [lo, hi] of tree) {
    const pages = Number(hi) - Number(lo) + 1;
    const last = rows.at(-1);
    if (last !== undefined && Number(lo) === next && pages === size) last[2] = (last[2] ?? 1) + 1;
    else rows.push([lo, hi]);
    next = Number(hi) + 1;
    size = pages;
  }
  return rows;
}

/** A sequence on one IOVA space: header members, then operations with our results. */
export function writeIova(prng: Prng, operations: number): { head: JsonRow; rows: JsonRow[] } {
  const cfg = {
    granule: hex(4096),
    start_pfn: '0x1',
    possible_cpus: CPUS,
    online_mask: hex(2 ** CPUS - 1),
    cpu_page_size: hex(4096),
    rcaches: true,
  };
  const run = new IovaRun(cfg);
  const head = { cfg, init: run.init() };
  const inputs = new Inputs(prng);
  const rows: JsonRow[] = [];
  const every = Math.max(2, Math.ceil(operations / 6));
  for (let i = 0; i < operations - 1; i++) {
    if (i % every === every - 1) {
      const full = ((i + 1) / every) % 2;
      const state = run.checkpoint(full === 1 ? 'entries' : 'lengths');
      const tree = runLengths(state['tree']);
      rows.push({ op: 'checkpoint', ...(full === 1 ? { full } : {}), ...state, tree });
      continue;
    }
    const input = inputs.next();
    const { warns, ...results } = run.run(input, `operation ${String(i)}`);
    const op = { ...input, ...results, ...(warns === 0 ? {} : { warns }) };
    inputs.done(op);
    rows.push(op);
  }
  run.run({ op: 'put' }, 'put');
  rows.push({ op: 'put' });
  return { head, rows };
}
