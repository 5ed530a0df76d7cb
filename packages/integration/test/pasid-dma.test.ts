// Many address spaces of one device at the same IOVAs, while it does DMA on all of them: the bytes, and what is left afterwards.
import { createPrng } from '@iommukit/platform';
import { CACHE_EVERYTHING, CACHE_NOTHING } from '@iommukit/smmu-v3-model';
import { type IoMm, svaFreePasid, svaMap, svaUnmap } from '@iommukit/sva-pasid';
import { describe, expect, test } from 'vitest';
import { PasidRig } from '../src/scenarios/pasid-rig.ts';
import { PROT } from '../src/scenarios/setup.ts';

const PAGE = 4096;
const IOVA = 0x1_0000;
const PAGES = 2;
const RAM = 0x4000_0000;
const WORDS = [0, 4088];

/** Where the memory of a PASID is: pages of no two PASIDs are neighbours. */
function memoryOf(pasid: number, page: number): number {
  return RAM + (pasid * PAGES + page) * 2 * PAGE;
}

/** What a PASID writes at an IOVA in a round. */
function word(pasid: number, iova: number, round: number): number {
  return (pasid * 0x10001 + iova * 7 + round * 0x1357) % 2 ** 31;
}

class Dma {
  readonly rig: PasidRig;
  wrong = 0;

  constructor(rig: PasidRig) {
    this.rig = rig;
  }

  /** The device writes a word, with a PASID, wherever that translates to. */
  write(pasid: number, iova: number, value: number): void {
    const paddr = this.rig.access(pasid, iova, 'write');
    if (typeof paddr === 'number') this.rig.machine.memory.store64(paddr, value, pasid);
    else this.wrong++;
  }

  /** The device reads one back. */
  read(pasid: number, iova: number, value: number): void {
    const { memory } = this.rig.machine;
    const paddr = this.rig.access(pasid, iova);
    if (typeof paddr !== 'number' || memory.load64(paddr) !== value || memory.hi !== pasid)
      this.wrong++;
  }

  /** The CPU looks where the words must be. */
  look(pasid: number, iova: number, value: number): void {
    const { memory } = this.rig.machine;
    const at = memoryOf(pasid, Math.floor((iova - IOVA) / PAGE)) + (iova % PAGE);
    if (memory.load64(at) !== value || memory.hi !== pasid) this.wrong++;
  }
}

const addresses = Array.from({ length: PAGES }, (_, page) =>
  WORDS.map((at) => IOVA + page * PAGE + at),
).flat();

/** Interleaved by address: one word of each PASID, then the next word of each. */
function everywhere(
  handles: readonly IoMm[],
  round: number,
  touch: (pasid: number, iova: number, value: number) => void,
): void {
  for (const iova of addresses)
    for (const { pasid } of handles) touch(pasid, iova, word(pasid, iova, round));
}

function spaces(rig: PasidRig, n: number): IoMm[] {
  return Array.from({ length: n }, () => {
    const ioMm = rig.alloc();
    for (let page = 0; page < PAGES; page++)
      expect(svaMap(ioMm, IOVA + page * PAGE, memoryOf(ioMm.pasid, page), PAGE, PROT)).toBe(0);
    return ioMm;
  });
}

function shuffled(handles: readonly IoMm[], seed: number): IoMm[] {
  const prng = createPrng(seed);
  return handles
    .map((ioMm) => ({ ioMm, at: prng.below(2 ** 30) }))
    .sort((a, b) => a.at - b.at)
    .map(({ ioMm }) => ioMm);
}

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

describe('PASIDs of one device: every byte right, freed in random order, nothing left', () => {
  const everything = { how: 'all that may be cached is', policy: CACHE_EVERYTHING };
  const nothing = { how: 'nothing is cached', policy: CACHE_NOTHING };
  const rows = [
    { n: 2, kernel: '7.3', ...everything },
    { n: 2, kernel: '7.3', ...nothing },
    { n: 2, kernel: '7.2', ...everything },
    { n: 2, kernel: '6.12', ...everything },
    { n: SOAK ? 1000 : 250, kernel: '7.3', ...everything },
  ];
  test.each(rows)('$n, kernel $kernel, $how', ({ n, kernel, policy }) => {
    const rig = new PasidRig({ range: [1, n], kernel, policy });
    const before = rig.state();
    const dma = new Dma(rig);
    const handles = spaces(rig, n);
    const asids = new Set(handles.map(({ pasid }) => rig.asid(pasid)));
    expect(asids.size).toBe(n);
    expect(asids.has(rig.asid(0))).toBe(false);

    everywhere(handles, 0, (...word) => dma.write(...word));
    everywhere(handles, 0, (...word) => dma.read(...word));
    everywhere(handles, 0, (...word) => dma.look(...word));
    expect(dma.wrong).toBe(0);

    // One goes, the others go on.
    const order = shuffled(handles, 20 + n);
    for (const [i, ioMm] of order.entries()) {
      const { pasid } = ioMm;
      if (i % 3 === 0) svaUnmap(ioMm, IOVA, PAGE);
      if (i % 3 === 0) expect(rig.access(pasid, IOVA)).toBe('F_TRANSLATION');
      expect(svaFreePasid(rig.domain, ioMm)).toBe(0);
      expect(rig.access(pasid, IOVA + PAGE)).toBe('C_BAD_CD');
      for (const other of order.slice(i + 1, i + 4))
        for (const iova of addresses) {
          dma.read(other.pasid, iova, word(other.pasid, iova, 0));
        }
    }
    expect(dma.wrong).toBe(0);
    expect(rig.state()).toBe(before);

    // The next ones get the same ASIDs and PASIDs, and nothing of the old.
    const next = spaces(rig, n);
    expect(new Set(next.map(({ pasid }) => rig.asid(pasid)))).toEqual(asids);
    everywhere(next, 1, (...word) => dma.write(...word));
    everywhere(next, 1, (...word) => dma.look(...word));
    expect(dma.wrong).toBe(0);
    expect(rig.end()).toEqual([]);
  });
});
