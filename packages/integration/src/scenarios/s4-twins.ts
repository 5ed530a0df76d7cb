/* S4-20: random sequences, one entry a call against the whole count. */
import { IotlbGather } from '@iommukit/io-pgtable';
import { createPrng, type Prng } from '@iommukit/platform';
import { unmapSingly } from './mapper.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import { ScenarioRig } from './scenario-rig.ts';
import { GRANULES, type GranuleName, PA, PROT, X } from './setup.ts';
import { pagesOf } from './table-image.ts';

type Way = 'L' | 'U';

/** The device reads pages of a range, spread evenly: what it gets is what the CPU finds in the tables. */
function read(rig: ScenarioRig, iova: number, size: number): void {
  const step = Math.max(1, Math.floor(size / rig.granule / 16)) * rig.granule;
  for (let at = iova; at < iova + size; at += step) {
    const paddr = rig.table.iovaToPhys(at);
    if (rig.access(at) !== (paddr === 0 ? -1 : paddr))
      rig.fault(`page ${at.toString(16)} is stale`);
  }
}

function unmap(rig: ScenarioRig, way: Way, iova: number, size: number): number {
  const { core } = rig.machine;
  if (way === 'U') return core.unmap(rig.domain, iova, size);
  const gather = new IotlbGather();
  const bytes = unmapSingly(rig, iova, size, gather);
  core.iotlbSync(rig.domain, gather);
  return bytes;
}

/** One sequence of maps and unmaps, holes and overlaps included; what every call returned. */
function sequence(rig: ScenarioRig, way: Way, prng: Prng, name: GranuleName): number[] {
  const { granule: page, block } = GRANULES[name];
  const results: number[] = [];
  for (let step = 0; step < 8; step++) {
    const kind = prng.below(4);
    // Around the border of two leaf tables; now and then whole blocks.
    const whole = prng.below(5) === 0;
    const iova = X + (whole ? prng.below(3) * block : block + (prng.below(80) - 40) * page);
    const size = whole ? (1 + prng.below(2)) * block : (1 + prng.below(40)) * page;
    const paddr = whole ? PA : PA + prng.below(1000) * page;
    results.push(
      kind < 2
        ? rig.machine.core.map(rig.domain, iova, paddr, size, PROT)
        : unmap(rig, way, iova, size),
    );
    read(rig, iova, size);
  }
  return results;
}

/** Both take frames in the same order, so that even the addresses of their tables agree. */
function sameImage(l: ScenarioRig, u: ScenarioRig): boolean {
  for (const pa of l.machine.memory.touchedPages()) {
    if (!l.watch.holds(pa)) continue;
    const [a, b] = [l, u].map(({ machine }) => machine.memory.lanes(pa));
    if (a === undefined || b === undefined || Buffer.compare(bytes(a), bytes(b)) !== 0)
      return false;
  }
  return l.machine.frames.used === u.machine.frames.used;
}

function bytes(words: Uint32Array): Buffer {
  return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
}

/** Takes what the tables hold as what shall be there: reads, leaks and stale uses are still looked at. */
function settle(rig: ScenarioRig): void {
  for (const [iova, paddr] of pagesOf(rig.machine.memory, rig.table)) rig.mirror.set(iova, paddr);
}

/** Every 50th sequence starts with empty tables. */
const FRESH = 50;

/** Two rigs that get the same random calls, one an entry at a time: whatever either returns, stores or invalidates is equal. */
export function twins(granule: GranuleName, sequences: number): ScenarioCase {
  return {
    way: `${sequences} sequences, ${granule}`,
    rig: { granule },
    run(rig) {
      let [l, u] = [rig, new ScenarioRig({ granule })];
      const seen = { sequences: 0, calls: 0, differences: 0 };
      const close = (): void => {
        for (const one of [l, u]) {
          settle(one);
          if (one === rig) continue;
          one.audit();
          const { missing, pending, race } = one.stale();
          if (missing + pending + race > 0) one.fault('stale entries were used');
          one.end();
          for (const text of one.broken) rig.fault(text);
        }
      };
      for (let seed = 0; seed < sequences; seed++) {
        if (seed > 0 && seed % FRESH === 0) {
          close();
          [l, u] = [new ScenarioRig({ granule }), new ScenarioRig({ granule })];
        }
        const results = [l, u].map((one, i) => {
          let returned: number[] = [];
          const { VA, ASID, SYNC, st, alloc, free, fields } = one.count(() => {
            returned = sequence(one, i === 0 ? 'L' : 'U', createPrng(seed), granule);
          });
          seen.calls += returned.length;
          // In U every walk of a call comes before the pages of that call are gathered: only the order differs.
          const sorted = fields.split(', ').sort();
          return JSON.stringify({ returned, VA, ASID, SYNC, st, alloc, free, sorted });
        });
        seen.sequences++;
        if (results[0] !== results[1] || !sameImage(l, u)) seen.differences++;
      }
      close();
      return seen;
    },
    expected: { sequences, differences: 0 },
    sweep: false,
  };
}

export const s420: Scenario = {
  id: 'S4-20',
  title: 'random twins',
  cases: () => [twins('4K', 6000), twins('16K', 2000), twins('64K', 2000)],
};
