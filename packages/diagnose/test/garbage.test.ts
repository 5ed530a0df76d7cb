import { IommuError } from '@iommukit/bits';
import { createPrng } from '@iommukit/platform';
import { afterAll, expect, test } from 'vitest';
import {
  cdReports,
  commandQueueOf,
  type DumpImage,
  domainsOf,
  eventQueueOf,
  mapsOf,
  steReports,
  walkAccess,
} from '../src/index.ts';
import { CD_DW0, CMDQ, EVTQ, removeDumps, STRTAB, WrittenDump } from './written-dump.lanes.ts';

afterAll(removeDumps);

const CD = 0x4030_0000;
const TABLE = 0x4031_0000;

/** A dump with sound entries of all kinds in which words were replaced by noise. */
function noisy(seed: number): DumpImage {
  const prng = createPrng(seed);
  const word = (): bigint => BigInt(prng.u32()) * 2n ** 32n + BigInt(prng.u32());
  const dump = new WrittenDump();
  for (let sid = 0; sid < 8; sid++)
    dump.ste(sid, BigInt(CD) + BigInt((sid % 4) * 2 + 9), word(), word(), BigInt(TABLE));
  dump.words(CD, CD_DW0, BigInt(TABLE), BigInt(TABLE), word());
  const places = [STRTAB, CD, TABLE, CMDQ, EVTQ];
  for (let i = 0; i < 200; i++) {
    const at = (places[prng.below(places.length)] as number) + prng.below(64) * 8;
    // Half of the noise points into the dump, so that walks go on.
    const into = BigInt(places[prng.below(places.length)] as number) + (word() % 4096n);
    dump.word(at, i % 2 === 0 ? word() : into);
  }
  // Substreams, queue registers and the table's shape.
  dump.registers['0x4'] = 0x0273_0010 + prng.below(21) * 64;
  for (const offset of ['0x88', '0x98', '0x9c', '0x100a8', '0x100ac'])
    if (prng.u32() % 2 === 0) dump.registers[offset] = prng.u32();
  return dump.open();
}

test('noise in tables, entries, queues and registers gives reports, and no error but a refusal', () => {
  let refused = 0;
  let done = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const image = noisy(seed);
    const looks: (() => unknown)[] = [
      () => steReports(image),
      () => cdReports(image),
      () => mapsOf(image),
      () => domainsOf(image),
      () => commandQueueOf(image),
      () => eventQueueOf(image),
      ...[0, 1, 2, 3, 600].map(
        (streamId) => () =>
          walkAccess(image, {
            streamId,
            address: { lo: (seed * 0x1234_5678) % 2 ** 32, hi: seed % 2 === 0 ? 0 : 0xffff_0000 },
            rw: seed % 3 === 0 ? 'write' : 'read',
          }),
      ),
    ];
    for (const look of looks)
      try {
        look();
        done++;
      } catch (error) {
        expect(error).toBeInstanceOf(IommuError);
        expect((error as IommuError).code).toMatch(/^UNMODELLED_/);
        refused++;
      }
  }
  expect(done).toBeGreaterThan(300);
  expect(done + refused).toBe(40 * 11);
}, 60_000);
