// A PASID is freed while invalidations are on their way: the SMMU consumes one command at a time, the device reads between any two, and a
// second CPU does its part at each of these moments.
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import {
  type IoMm,
  svaAllocPasid,
  svaFreePasid,
  svaMap,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from '@iommukit/sva-pasid';
import { describe, expect, test } from 'vitest';
import { type Outcome, PasidRig } from '../src/scenarios/pasid-rig.ts';
import { PA, PROT } from '../src/scenarios/setup.ts';

const PAGE = 4096;
const IOVA = 0x1_0000;
/** The memory of each address space, in the order in which they are made. */
const MEMORY = [PA, PA + 0x10_0000, PA + 0x20_0000];
const ENOSPC = -28;

class Race {
  readonly rig = new PasidRig({
    range: [5, 7],
    policy: { ...CACHE_EVERYTHING, consume: 'step' },
  });
  readonly handles: readonly [IoMm, IoMm];
  /** Steps of the SMMU since the first CPU began. */
  steps = 0;
  /** What the device read that nobody may read. */
  readonly wrong: string[] = [];
  /** What each PASID may read now, besides faults. */
  readonly allowed = new Map<number, number>();
  #second: { readonly at: number; readonly run: () => void } | null = null;
  done = false;

  constructor() {
    const { rig } = this;
    this.handles = [rig.alloc(), rig.alloc()];
    for (const [i, ioMm] of this.handles.entries()) {
      this.map(ioMm, MEMORY[i] as number);
      rig.access(ioMm.pasid, IOVA);
    }
    rig.machine.platform.register({ run: () => this.#step() });
  }

  map(ioMm: IoMm, paddr: number): void {
    this.allowed.set(ioMm.pasid, paddr);
    expect(svaMap(ioMm, IOVA, paddr, PAGE, PROT)).toBe(0);
  }

  /** The first CPU works; at the `at`-th moment in which it waits, the second does its part. Says whether there was one. */
  run(first: () => void, at: number, second: () => void): boolean {
    this.steps = 0;
    this.#second = { at, run: second };
    first();
    this.#second = null;
    return this.done;
  }

  #step(): boolean {
    this.look();
    const second = this.#second;
    if (second !== null && this.steps++ === second.at) {
      this.#second = null;
      second.run();
      this.done = true;
    }
    // The first CPU waits for the SMMU, not for this.
    return false;
  }

  /** The device reads with every PASID: its own memory, or nothing. */
  look(): void {
    for (let pasid = 5; pasid <= 7; pasid++) {
      const got = this.rig.access(pasid, IOVA);
      if (typeof got === 'number' && got !== this.allowed.get(pasid))
        this.wrong.push(`PASID ${pasid} read ${got.toString(16)}`);
    }
  }

  reads(): Outcome[] {
    return [5, 6, 7].map((pasid) => this.rig.access(pasid, IOVA));
  }
}

/** Runs a race at every moment that it has; how many there were. */
function atEveryMoment(one: (race: Race, at: number) => boolean): number {
  let at = 0;
  for (;;) {
    const race = new Race();
    const met = one(race, at);
    expect(race.wrong).toEqual([]);
    expect(race.rig.end('race')).toEqual([]);
    if (!met) return at;
    at++;
  }
}

describe('a PASID is freed while another CPU waits for an invalidation', () => {
  test('of another address space', () => {
    const moments = atEveryMoment((race, at) => {
      const { rig } = race;
      const [five, six] = race.handles;
      const met = race.run(
        () => expect(svaUnmap(five, IOVA, PAGE)).toBe(PAGE),
        at,
        () => expect(svaFreePasid(rig.domain, six)).toBe(0),
      );
      expect(race.reads()).toEqual(['F_TRANSLATION', met ? 'C_BAD_CD' : MEMORY[1], 'C_BAD_CD']);
      return met;
    });
    // One VA and one SYNC to be consumed.
    expect(moments).toBe(2);
  });

  test('of the same one', () => {
    const moments = atEveryMoment((race, at) => {
      const { rig } = race;
      const [five] = race.handles;
      const met = race.run(
        () => expect(svaUnmap(five, IOVA, PAGE)).toBe(PAGE),
        at,
        () => expect(svaFreePasid(rig.domain, five)).toBe(0),
      );
      expect(race.reads()[0]).toBe(met ? 'C_BAD_CD' : 'F_TRANSLATION');
      return met;
    });
    expect(moments).toBe(2);
  });

  test('of the same one, put off and never given', () => {
    const race = new Race();
    const [five] = race.handles;
    svaUnmapFast(five, IOVA, PAGE);
    expect(race.reads()[0]).toBe(MEMORY[0]);
    svaFreePasid(race.rig.domain, five);
    expect(race.reads()[0]).toBe('C_BAD_CD');
    // Its ASID is the next one given.
    const next = race.rig.alloc();
    expect(race.reads()[next.pasid - 5]).toBe('F_TRANSLATION');
    expect(race.rig.end('race')).toEqual([]);
  });
});

describe('while a PASID is being freed', () => {
  test('neither it nor its ASID is given to anybody', () => {
    const moments = atEveryMoment((race, at) => {
      const { rig } = race;
      const [five] = race.handles;
      const seven = rig.alloc();
      race.map(seven, MEMORY[2] as number);
      const asid = rig.asid(5);
      let second: IoMm | number = 0;
      const met = race.run(
        () => expect(svaFreePasid(rig.domain, five)).toBe(0),
        at,
        () => {
          second = svaAllocPasid(rig.domain, rig.device);
        },
      );
      if (met) expect(second).toBe(ENOSPC);
      const next = rig.alloc();
      expect([next.pasid, rig.asid(next.pasid)]).toEqual([5, asid]);
      race.map(next, MEMORY[2] as number);
      expect(race.reads()).toEqual([MEMORY[2], MEMORY[1], MEMORY[2]]);
      return met;
    });
    // Two CD and two SYNC, one ASID and one SYNC.
    expect(moments).toBe(6);
  });

  test('another one is given, mapped and used', () => {
    const moments = atEveryMoment((race, at) => {
      const { rig } = race;
      const [five] = race.handles;
      const asid = rig.asid(5);
      const met = race.run(
        () => expect(svaFreePasid(rig.domain, five)).toBe(0),
        at,
        () => {
          const seven = rig.alloc();
          expect([seven.pasid, rig.asid(7) === asid]).toEqual([7, false]);
          race.map(seven, MEMORY[2] as number);
        },
      );
      expect(race.reads()).toEqual(['C_BAD_CD', MEMORY[1], met ? MEMORY[2] : 'C_BAD_CD']);
      return met;
    });
    expect(moments).toBe(6);
  });

  test('a put-off invalidation of another one is given', () => {
    const moments = atEveryMoment((race, at) => {
      const { rig } = race;
      const [five, six] = race.handles;
      svaUnmapFast(six, IOVA, PAGE);
      const met = race.run(
        () => expect(svaFreePasid(rig.domain, five)).toBe(0),
        at,
        () => expect(svaTlbSync(six)).toBe(0),
      );
      if (!met) svaTlbSync(six);
      expect(race.reads()).toEqual(['C_BAD_CD', 'F_TRANSLATION', 'C_BAD_CD']);
      return met;
    });
    expect(moments).toBe(6);
  });
});
