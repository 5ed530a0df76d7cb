import { u64, u64Of } from '@iommukit/bits';
import { readLeaves } from '@iommukit/captures';
import { streamLeaves } from '@iommukit/integration';
import { afterAll, describe, expect, test, vi } from 'vitest';
import {
  cdReports,
  domainsOf,
  type MapRange,
  mapsOf,
  openDump,
  steReports,
  whyNoSte,
} from '../src/index.ts';
import { CD_DW0, removeDumps, STE_DW1, WrittenDump } from './written-dump.lanes.ts';

// A busy machine may take several seconds for a capture.
vi.setConfig({ testTimeout: 60_000 });

afterAll(removeDumps);

const CD = 0x4030_0000;
const TABLE = 0x4031_0000;
const NEXT = 0x4032_0000;

function shape(ranges: readonly MapRange[] | undefined): string[] {
  return (ranges ?? []).map(
    ({ start, last, output, leaves }) =>
      `${start.hi.toString(16)}:${start.lo.toString(16)}-${last.hi.toString(16)}:${last.lo.toString(16)} ${output.lo.toString(16)} x${leaves}`,
  );
}

describe('maps', () => {
  test.each(['idle', 'busy'])(
    'the captured leaves, %s: as listed, and as a second walker finds',
    (tag) => {
      const image = openDump('linux-6.12-strict-up', tag);
      const { rows } = readLeaves(image.file.replace('snap.json', 'leaves.jsonl'));
      const listed = new Map<number, number>();
      for (const { sid } of rows) listed.set(sid, (listed.get(sid) ?? 0) + 1);
      const twin = new Map<number, number>();
      for (const { streamId } of streamLeaves(image.memory, image.snapshot.meta.strtab))
        twin.set(streamId, (twin.get(streamId) ?? 0) + 1);
      const ours = new Map(
        mapsOf(image).flatMap((maps) => (maps.leaves > 0 ? [[maps.streamId, maps.leaves]] : [])),
      );
      const byStream = (map: Map<number | undefined, number | undefined>): unknown[] =>
        [...map].sort(([a = 0], [b = 0]) => a - b);
      expect(byStream(ours)).toEqual(byStream(listed));
      expect(byStream(ours)).toEqual(byStream(twin));
      for (const { ranges } of mapsOf(image))
        for (const { attributes } of ranges) expect(attributes.shareability).not.toBe('reserved');
    },
  );

  test('contiguous leaves with equal attributes are one range', () => {
    const dump = new WrittenDump().stage1(8, CD, TABLE);
    for (const [i, leaf] of [0x4100_0f47n, 0x4100_1f47n, 0x4100_2fc7n, 0x4100_4fc7n].entries())
      dump.map(TABLE, 0x1000 + i * 0x1000, leaf, { level: 0, next: NEXT });
    // A 2 MiB block with the Contiguous bit, in the third table of level 2.
    dump.word(NEXT + 0x1008, 0x0010_0000_4120_0f45n);
    const [maps] = mapsOf(dump.open());
    expect(shape(maps?.ranges)).toEqual([
      '0:1000-0:2fff 41000000 x2',
      '0:3000-0:3fff 41002000 x1',
      '0:4000-0:4fff 41004000 x1',
      '0:200000-0:3fffff 41200000 x1',
    ]);
    expect(maps?.ranges[0]?.attributes).toEqual({
      access: 'read-write',
      memory: 'AttrIndx 1 (0xff)',
      shareability: 'Inner Shareable',
      executeNever: 'none',
      accessFlag: true,
      notGlobal: true,
      dirtyBitModifier: false,
      limits: '',
    });
    expect(maps?.ranges[1]?.attributes.access).toBe('read-only');
    expect(maps?.ranges[3]).toMatchObject({ contiguous: 1, leafSizes: [0x20_0000] });
  });

  test('the upper half ends at the last byte, and tables limit what is below', () => {
    const upper = 0x4040_0000;
    const dump = new WrittenDump().stage1(8, CD, TABLE);
    // T1SZ 16, TG1 4 KiB, EPD1 off; APTable=10 and UXNTable on the way.
    dump.word(CD, (dump.at(CD) & ~(1n << 30n)) | (16n << 16n) | (2n << 22n));
    dump.word(CD + 16, BigInt(upper)).word(TABLE, 0n);
    dump.map(upper, 2 ** 48 - 4096, 0x4100_0f47n, { level: 0, next: NEXT });
    dump.word(upper + 511 * 8, dump.at(upper + 511 * 8) | (5n << 60n));
    const [maps] = mapsOf(dump.open());
    expect(maps?.ranges).toMatchObject([
      {
        start: u64(0xffff_f000, 0xffff_ffff),
        last: u64(0xffff_ffff, 0xffff_ffff),
        attributes: { limits: 'no writes, no unprivileged execution' },
      },
    ]);
  });

  test('a table that the dump lacks, and one that points at itself', () => {
    const absent = new WrittenDump().stage1(8, CD, TABLE).word(TABLE, 0x7000_0003n);
    expect(mapsOf(absent.open())[0]?.notes).toMatchObject({ absent: 1, cut: false });
    const circle = new WrittenDump().stage1(8, CD, TABLE);
    for (let i = 0; i < 512; i++) circle.word(TABLE + i * 8, BigInt(TABLE) | 3n);
    expect(mapsOf(circle.open(), 8)[0]?.notes.cut).toBe(true);
  });

  test('stage 2 has ranges of its own', () => {
    const vtcr = (24n | (1n << 6n) | (4n << 16n) | (1n << 19n)) << 32n;
    const dump = new WrittenDump()
      .ste(8, 0xdn, 0n, vtcr | 5n, BigInt(TABLE))
      .map(TABLE, 0x1000, 0x4100_07bfn, { level: 1, next: NEXT });
    const [maps] = mapsOf(dump.open());
    expect(maps).toMatchObject({ streamId: 8, substreamId: undefined, leaves: 1 });
    expect(maps?.ranges[0]).toMatchObject({
      stage: 2,
      start: u64Of(0x1000),
      attributes: { access: 'write', memory: 'MemAttr 0xf' },
    });
  });
});

describe('entries', () => {
  test('the captured ones are legal and without stray bits', () => {
    const image = openDump('linux-6.12-fault');
    const stes = steReports(image);
    // 12 streams are configured, the others of four second-level tables abort (captures, check of the stream table).
    expect(stes).toHaveLength(1024);
    expect(stes.filter(({ mode }) => mode === 'stage1')).toHaveLength(12);
    expect(stes.filter(({ mode }) => mode === 'abort')).toHaveLength(1012);
    const cds = cdReports(image);
    expect(cds).toHaveLength(12);
    for (const { verdict, entry } of [...stes, ...cds]) {
      expect(verdict).toBe('legal');
      expect(entry.stray).toEqual([]);
    }
    expect(cdReports(image, 8)).toMatchObject([{ asid: 6, valid: true, substreamId: 0 }]);
  });

  test('reserved bits are named, and the model judges', () => {
    const dump = new WrittenDump()
      .ste(8, 0x9n, 1n << 41n)
      .ste(9, 0n)
      // Config=101 with a CD outside the 44-bit output size.
      .ste(10, (1n << 50n) | 0xbn, STE_DW1)
      .stage1(11, CD, TABLE)
      .word(TABLE, 0n);
    // T0SZ=1 is out of range.
    dump.word(CD, (CD_DW0 & ~0x3fn) | 1n);
    const image = dump.open();
    expect(steReports(image, 8)).toMatchObject([
      { mode: 'bypass', verdict: 'legal', entry: { stray: [{ field: 'RES0_107_105', value: 1 }] } },
    ]);
    expect(steReports(image, 9)).toMatchObject([{ mode: 'invalid', verdict: 'illegal' }]);
    expect(steReports(image, 10)).toMatchObject([{ verdict: 'illegal', because: 'C_BAD_STE' }]);
    expect(cdReports(image, 11)).toMatchObject([{ verdict: 'illegal', because: 'C_BAD_CD' }]);
    expect(steReports(image).map(({ streamId }) => streamId)).toEqual([8, 10, 11]);
  });

  test('why a stream has no entry', () => {
    const image = new WrittenDump().open();
    expect(whyNoSte(image, 511)).toBeUndefined();
    expect(whyNoSte(image, 512)).toBe('the table has 0x200 entries');
    const shipped = openDump('linux-6.12-strict-up');
    expect(whyNoSte(shipped, 0x500)).toBe('its level 1 descriptor does not reach it');
  });
});

describe('domains', () => {
  test('captured streams that share a group share ASID and table', () => {
    const { groups, conflicts } = domainsOf(openDump('linux-6.12-fault'));
    expect(conflicts).toEqual([]);
    const shared = groups.filter(({ mode, streams }) => mode === 'stage1' && streams.length > 1);
    // guest/iommu_groups: each root port with the device behind it; the bridge with the two SIDs behind it.
    expect(shared.map(({ streams }) => streams.map(({ streamId }) => streamId))).toEqual([
      [0x20, 0x100],
      [0x28, 0x200],
      [0x40, 0x300, 0x308],
    ]);
  });

  test('an ASID for two tables is a conflict', () => {
    const image = new WrittenDump()
      .stage1(8, CD, TABLE, 6n)
      .stage1(9, CD + 0x1000, TABLE + 0x1000, 6n)
      .stage1(10, CD + 0x2000, TABLE + 0x2000, 7n)
      .open();
    expect(domainsOf(image).conflicts).toEqual([{ tag: 'ASID 6 of VMID 0', streams: [8, 9] }]);
  });

  test('streams of one CD', () => {
    const dump = new WrittenDump().stage1(8, CD, TABLE).ste(9, BigInt(CD) | 0xbn, STE_DW1);
    expect(domainsOf(dump.open()).groups).toMatchObject([
      { asid: 6, ttb0: u64Of(TABLE), contexts: [{ address: u64Of(CD), streams: [8, 9] }] },
    ]);
  });
});
