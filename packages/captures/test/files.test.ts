import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  FtraceParser,
  InputError,
  inputText,
  openCapture,
  openText,
  parseDmesg,
  parseFtraceStream,
  parseIomem,
  readLeaves,
  readRegs,
  readSnapshot,
  readText,
  readTruth,
  readVerdicts,
} from '../src/index.ts';
import { beside, fixture, inputErrorOf, tempFile } from './fixture.ts';

const TRACE = readText(fixture('trace-6.12-lazy.txt'));
const PACKED = gzipSync(TRACE);

async function collect(path: string): Promise<string> {
  let text = '';
  for await (const chunk of openText(path)) text += Buffer.from(chunk).toString('latin1');
  return text;
}

describe('text files', () => {
  it('unpacks by content, not by name', () => {
    expect(readText(tempFile('trace.txt', PACKED))).toBe(TRACE);
    expect(readText(tempFile('trace.txt.gz', TRACE))).toBe(TRACE);
    expect(readText(tempFile('empty.txt', ''))).toBe('');
  });

  it('streams the same text', async () => {
    expect(await collect(tempFile('t', PACKED))).toBe(TRACE);
    expect(await collect(tempFile('t', TRACE))).toBe(TRACE);
    expect(await collect(tempFile('t', ''))).toBe('');
  });

  it('streams a packed trace into the parser', async () => {
    const parser = new FtraceParser('t');
    let events = 0;
    for await (const batch of parseFtraceStream(openText(tempFile('t', PACKED)), parser))
      events += batch.length;
    expect([events, parser.lines, parser.unread]).toEqual([51, 63, []]);
  });

  const damage = [
    { name: 'a gzip cut in the middle', bytes: PACKED.subarray(0, PACKED.length >> 1) },
    { name: 'a gzip without its last byte', bytes: PACKED.subarray(0, PACKED.length - 1) },
    { name: 'a gzip with only its magic', bytes: PACKED.subarray(0, 2) },
    {
      name: 'a gzip with a flipped bit',
      bytes: PACKED.map((b, i) => (i === 200 ? b ^ 0x10 : b)),
    },
  ];
  it.each(damage)('$name is an error of one line', async ({ bytes }) => {
    const path = tempFile('trace.txt.gz', bytes);
    const operands = inputErrorOf(() => readText(path));
    expect(operands.file).toBe(path);
    expect(operands.expected).toMatch(/^complete gzip data \(/);
    await expect(collect(path)).rejects.toThrow(InputError);
  });

  it('a missing file is an error of one line with a stable code', async () => {
    const operands = inputErrorOf(() => readText('/nowhere/trace.txt.gz'));
    expect(operands).toEqual({
      file: '/nowhere/trace.txt.gz',
      expected: 'a readable file (ENOENT)',
    });
    const error = new InputError(operands);
    expect(error.code).toBe('INPUT');
    expect(error.message).toBe('/nowhere/trace.txt.gz: expected a readable file (ENOENT)');
    await expect(collect('/nowhere/trace.txt.gz')).rejects.toThrow(error.message);
  });

  it('a directory is an error', () => {
    expect(inputErrorOf(() => readText(tmpdir())).expected).toBe('a readable file (EISDIR)');
  });

  it('prints file and line', () => {
    expect(inputText({ file: 'a.txt', line: 2, expected: '"pfn="' })).toBe(
      'a.txt:2: expected "pfn="',
    );
  });
});

describe('snapshot', () => {
  const path = fixture('capture/DUMP-IDLE.snap.json');
  const bin = readFileSync(fixture('capture/DUMP-IDLE.snap.bin'));
  type Json = {
    segments: { physAddr: string; offset: number; length: number; kind: string }[];
    kinds: Record<string, { n: number; bytes: number }>;
    stes: { d: string[] }[];
    meta: { cmdq: { prod: unknown } };
    regs: Record<string, string>;
  };
  const json = (): Json => JSON.parse(readFileSync(path, 'utf8')) as Json;

  function broken(change: (j: Json) => void, bytes: Uint8Array = bin): string {
    const j = json();
    change(j);
    const copy = tempFile('x.snap.json', JSON.stringify(j));
    beside(copy, 'x.snap.bin', bytes);
    return inputErrorOf(() => readSnapshot(copy)).expected;
  }

  it('reads segments, queues, STEs and registers', () => {
    const snapshot = readSnapshot(path);
    expect(snapshot.tag).toBe('DUMP-BUSY');
    expect(snapshot.segments.map(({ kind, physAddr, length }) => [kind, physAddr, length])).toEqual(
      [
        ['pt-s1', 0x46300000, 4096],
        ['strtab-l1', 0x4633b000, 2048],
        ['cd', 0x46385000, 64],
        ['cd', 0x4639e000, 64],
        ['evtq', 0x6b200000, 768],
      ],
    );
    // The first event: F_TRANSLATION (0x10) of StreamID 0x30 at 0x1000, as the kernel log of the capture prints it.
    const events = snapshot.segments[4]?.bytes ?? new Uint8Array();
    const view = new DataView(events.buffer, events.byteOffset, events.byteLength);
    expect(view.getBigUint64(0, true)).toBe(0x0000003000000010n);
    expect(view.getBigUint64(8, true)).toBe(0x0000020800000000n);
    expect(view.getBigUint64(16, true)).toBe(0x1000n);
    expect(snapshot.meta.evtq).toEqual({
      pa: 0x6b200000,
      log2: 15,
      prod: 24,
      cons: 24,
      wrapped: false,
      entriesKept: 24,
    });
    expect(snapshot.meta.strtab).toEqual({ base: 0x4633b000, fmt: 1, split: 8, log2size: 16 });
    expect(snapshot.stes[0]).toEqual({
      sid: 8,
      config: 5,
      d: [
        { lo: 0x479f300b, hi: 0 },
        { lo: 0xd6, hi: 0 },
        { lo: 0, hi: 0 },
        { lo: 0, hi: 0 },
      ],
      cd: 0x479f3000,
      cd0: { lo: 0xc0003510, hi: 0x6e204 },
      asid: 6,
      t0sz: 16,
      ttb0: 0x479f2000,
      tg0: 0,
      ips: 4,
      mair: { lo: 0xf404ff44, hi: 0xffffffff },
    });
    expect(snapshot.registers.get(0x20)).toBe(0xd);
    expect(snapshot.segments[0]?.bytes.byteOffset).toBe(0);
  });

  it('refuses a .bin file that is too short, too long, empty or absent', () => {
    expect(broken(() => {}, bin.subarray(0, bin.length - 1))).toBe(
      'segments[4] (offset 6272, length 768) to lie inside the 7039 bytes of the .bin file',
    );
    expect(broken(() => {}, Buffer.concat([bin, Buffer.alloc(1)]))).toBe(
      "7040 bytes, the sum of the segments' lengths, not 7041",
    );
    expect(broken(() => {}, new Uint8Array())).toMatch(/to lie inside the 0 bytes/);
    const alone = tempFile('y.snap.json', readFileSync(path));
    expect(inputErrorOf(() => readSnapshot(alone)).expected).toBe('a readable file (ENOENT)');
  });

  const rows: { name: string; change: (j: Json) => void; expected: string }[] = [
    {
      name: 'a segment twice in the .bin file',
      change: (j) => {
        for (const s of j.segments) if (s.offset === 4096) s.offset = 4000;
      },
      expected: 'segments that do not overlap in the .bin file (0x46300000 and 0x4633b000 do)',
    },
    {
      name: 'two segments at one address',
      change: (j) => {
        for (const s of j.segments) if (s.kind === 'strtab-l1') s.physAddr = '0x46300800';
      },
      expected: 'segments that do not overlap in memory (0x46300000 and 0x46300800 do)',
    },
    {
      name: 'a missing segment',
      change: (j) => j.segments.splice(1, 1),
      expected: "4992 bytes, the sum of the segments' lengths, not 7040",
    },
    {
      name: 'a count that disagrees',
      change: (j) => {
        j.kinds['cd'] = { n: 3, bytes: 128 };
      },
      expected: 'kinds.cd to agree with the segments (2 segments, 128 bytes)',
    },
    {
      name: 'a kind that is not counted',
      change: (j) => {
        for (const s of j.segments) if (s.kind === 'evtq') s.kind = 'priq';
      },
      expected: 'kinds.evtq to agree with the segments (0 segments, 0 bytes)',
    },
    {
      name: 'a negative length',
      change: (j) => {
        for (const s of j.segments) s.length = -1;
      },
      expected: 'segments[0].length to be a non-negative integer',
    },
    {
      name: 'an empty segment',
      change: (j) => {
        for (const s of j.segments) s.length = 0;
      },
      expected: 'segments[0].length to be positive',
    },
    {
      name: 'an address without 0x',
      change: (j) => {
        for (const s of j.segments) s.physAddr = '46300000';
      },
      expected: 'segments[0].physAddr to be "0x" and at most 16 hexadecimal digits',
    },
    {
      name: 'a malformed STE word',
      change: (j) => {
        for (const s of j.stes) s.d = ['0x1', 'x'];
      },
      expected: 'stes[0].d.1 to be "0x" and at most 16 hexadecimal digits',
    },
    {
      name: 'a queue index that is no number',
      change: (j) => {
        j.meta.cmdq.prod = '1';
      },
      expected: 'meta.cmdq.prod to be a non-negative integer',
    },
    {
      name: 'a register of 64 bits',
      change: (j) => {
        j.regs['0x80'] = '0x4000000046300000';
      },
      expected: 'regs.0x80 to be a 32-bit value',
    },
    {
      name: 'a register between words',
      change: (j) => {
        j.regs['0x81'] = '0x0';
      },
      expected: 'register offsets to be multiples of 4 in hexadecimal',
    },
  ];
  it.each(rows)('refuses $name', ({ change, expected }) => {
    expect(broken(change)).toBe(expected);
  });

  it('refuses text that is no JSON, and JSON that is no object', () => {
    for (const [text, expected] of [
      ['', 'valid JSON'],
      ['{"format":', 'valid JSON'],
      ['[]', 'a JSON object'],
      ['{}', 'meta to be an object'],
    ] as const) {
      const copy = tempFile('x.snap.json', text);
      beside(copy, 'x.snap.bin', bin);
      expect(inputErrorOf(() => readSnapshot(copy)).expected).toBe(expected);
    }
  });
});

describe('rows', () => {
  it('truth', () => {
    const { rows, unread, lines } = readTruth(fixture('capture/DUMP-IDLE.truth.jsonl'));
    expect([rows.length, unread, lines]).toEqual([3, [], 3]);
    expect(rows[2]).toEqual({
      line: 3,
      sid: 8,
      asid: 6,
      vmid: 0,
      iova: 0xffbe0000,
      iovaWord: { lo: 0xffbe0000, hi: 0 },
      pa: 0x42067000,
      paWord: { lo: 0x42067000, hi: 0 },
      perm: 3,
      stage: 1,
      atSnapshot: 'not-in-tables',
    });
  });

  it('verdicts', () => {
    const { rows } = readVerdicts(fixture('capture/DUMP-IDLE.qemu-verdicts.jsonl'));
    expect(rows.map((r) => [r.sid, r.iova, r.pa, r.pte, r.qemuWrite])).toEqual([
      [8, 0xfffbe000, 0x47d84000, { lo: 0x47d84f47, hi: 0 }, 'ok'],
      [8, 0xfffbd000, undefined, undefined, 'F_TRANSLATION'],
      [16, 0xffeeb000, 0x465d3000, { lo: 0x465d3fc7, hi: 0 }, 'F_PERMISSION'],
    ]);
  });

  it('leaves', () => {
    const { rows } = readLeaves(fixture('capture/DUMP-IDLE.leaves.jsonl'));
    expect(rows[2]).toEqual({
      line: 3,
      sid: 8,
      iova: 0xfffff000,
      iovaWord: { lo: 0xfffff000, hi: 0 },
      size: 4096,
      pa: 0x8090000,
      pte: { lo: 0x8090e4b, hi: 0x600000 },
      contig: false,
    });
  });

  it('a translation of stage 2 alone has ASID -1', () => {
    const row =
      '{"sid":8,"asid":-1,"vmid":3,"iova":"0x1000","pa":"0x2000","perm":2,"stage":2,"atSnapshot":"match"}';
    const { rows, unread } = readTruth(
      tempFile('s2.jsonl', `${row}\n${row.replace('-1', '-2')}\n`),
    );
    expect(rows).toMatchObject([{ asid: -1, vmid: 3, perm: 2, stage: 2 }]);
    expect(unread).toMatchObject([{ line: 2, expected: 'asid to be a non-negative integer' }]);
  });

  it('a malformed row counts as unread and the others are read', () => {
    const good =
      '{"sid":8,"asid":6,"vmid":0,"iova":"0x1","pa":"0x2","perm":3,"stage":1,"atSnapshot":"match"}';
    const path = tempFile(
      't.jsonl',
      [
        good,
        good.slice(0, 40),
        good.replace('"0x1"', '1'),
        good.replace('match', 'maybe'),
        '[]',
        '\u0000\u001f',
        '',
        `${good}\r`,
      ].join('\n'),
    );
    const { rows, unread, lines } = readTruth(path);
    expect(rows.map((r) => r.line)).toEqual([1, 8]);
    expect(unread.map((u) => [u.line, u.expected])).toEqual([
      [2, 'a JSON object'],
      [3, 'iova to be "0x" and at most 16 hexadecimal digits'],
      [4, 'atSnapshot to be "match" or "not-in-tables"'],
      [5, 'a JSON object'],
      [6, 'a JSON object'],
    ]);
    expect(lines).toBe(8);
  });

  it('an address above 2^53 is exact as a word', () => {
    const path = tempFile(
      'v.jsonl',
      '{"sid":8,"iova":"0xffffffffffffd002","pa":null,"qemuWrite":"ok"}',
    );
    expect(readVerdicts(path).rows[0]?.iovaWord).toEqual({ lo: 0xffffd002, hi: 0xffffffff });
  });
});

describe('registers', () => {
  it('reads words by offset', () => {
    const dump = readRegs(fixture('capture/DUMP-IDLE.regs.json'));
    expect(dump.base).toBe(0x9050000);
    expect(dump.tag).toBe('DUMP-IDLE');
    expect(dump.registers.size).toBe(84);
    // STRTAB_BASE as the guest wrote it: 0x400000004633b000.
    expect([dump.registers.get(0x80), dump.registers.get(0x84)]).toEqual([0x4633b000, 0x40000000]);
  });
});

describe('guest files', () => {
  it('kernel log', () => {
    expect(parseDmesg(readText(fixture('capture/guest/dmesg.txt')))).toEqual({
      release: '6.12.107+deb13-arm64',
      policy: 'strict',
      bridges: [{ bdf: '0000:00:08.0', secondaryBus: 3 }],
    });
    expect(
      parseDmesg(
        '[    0.9] iommu: DMA domain TLB invalidation policy: lazy mode (set via kernel command line)\r\n' +
          '[    1.0] pci 0001:0a:1f.7: [1b36:000e] type 01 class 0x060400 PCIe to PCI/PCI-X bridge\r\n' +
          '[    1.1] pci 0001:0a:1f.7: PCI bridge to [bus 0b-1c]\r\n',
      ),
    ).toEqual({
      release: undefined,
      policy: 'lazy',
      bridges: [{ bdf: '0001:0a:1f.7', secondaryBus: 0xb }],
    });
  });

  it('iomem', () => {
    const { ranges, unread, lines } = parseIomem(
      readText(fixture('capture/guest/iomem.txt')),
      'iomem.txt',
    );
    expect(unread).toEqual([]);
    expect(ranges.length).toBe(lines);
    expect(ranges.filter((r) => r.name.startsWith('pcie@'))).toEqual([
      { start: 0x10000000, last: 0x3efeffff, name: 'pcie@10000000', depth: 0 },
      { start: 0x8000000000, last: 0xffffffffff, name: 'pcie@10000000', depth: 0 },
    ]);
    expect(ranges.find((r) => r.name === 'nvme')?.depth).toBe(3);
    expect(parseIomem('10-0f : x\nzz\n', 'f').unread.map((u) => u.expected)).toEqual([
      'an end that is not below the start',
      'a hexadecimal number',
    ]);
  });
});

describe('capture', () => {
  function copy(): string {
    const dir = join(mkdtempSync(join(tmpdir(), 'iommukit-captures-')), 'cut');
    cpSync(fixture('capture'), dir, { recursive: true });
    return dir;
  }

  it('opens and reads all its parts', () => {
    const capture = openCapture(fixture('capture'));
    expect(capture).toMatchObject({
      name: 'capture',
      kernel: '6.12',
      release: '6.12.107+deb13-arm64',
      cpus: 2,
      policy: 'strict',
      bridges: [{ bdf: '0000:00:08.0', secondaryBus: 3 }],
    });
    expect(capture.pcieWindows.map((w) => w.start)).toEqual([0x10000000, 0x8000000000]);
    expect(capture.trace().events.length).toBe(47);
    expect(capture.guestOps().events.length).toBe(21);
    expect(capture.qemuOps().ops.length).toBe(18);
    expect(capture.snapshot('idle').segments.length).toBe(5);
    expect(capture.regs('idle').registers.size).toBe(84);
    expect(capture.truth('idle').rows.length).toBe(3);
    expect(capture.verdicts('idle').rows.length).toBe(3);
    expect(capture.leaves('idle').rows.length).toBe(3);
    expect(capture.missing('truth-idle')).toBe(false);
    expect(capture.missing('truth-busy')).toBe(true);
    expect(inputErrorOf(() => capture.truth('busy'))).toEqual({
      file: capture.path('truth-busy'),
      expected: 'a readable file (ENOENT)',
    });
  });

  it('prefers the packed log', () => {
    const dir = copy();
    writeFileSync(join(dir, 'guest/trace.txt.gz'), PACKED);
    expect(openCapture(dir).trace().events.length).toBe(51);
    truncateSync(join(dir, 'guest/trace.txt.gz'), 100);
    expect(inputErrorOf(() => openCapture(dir).trace()).file).toBe(join(dir, 'guest/trace.txt.gz'));
  });

  it('a missing directory or required file is an error', () => {
    expect(inputErrorOf(() => openCapture('/nowhere'))).toEqual({
      file: '/nowhere',
      expected: 'a capture directory',
    });
    for (const name of ['run.json', 'guest/dmesg.txt', 'guest/iomem.txt']) {
      const dir = copy();
      rmSync(join(dir, name));
      expect(inputErrorOf(() => openCapture(dir)).expected).toBe('a readable file (ENOENT)');
    }
  });

  const rows = [
    {
      name: 'an unknown kernel',
      file: 'run.json',
      from: '"6.12"',
      to: '"5.4"',
      expected: 'kernel to be 6.1, 6.12, 7.2 or 7.3',
    },
    {
      name: 'no CPU count',
      file: 'run.json',
      from: '-smp 2',
      to: '',
      expected: 'cmdline to hold -smp and a number of CPUs',
    },
    {
      name: 'no policy',
      file: 'guest/dmesg.txt',
      from: 'strict mode',
      to: '',
      expected: 'a line "DMA domain TLB invalidation policy: strict|lazy mode"',
    },
    {
      name: 'no PCIe window',
      file: 'guest/iomem.txt',
      from: /pcie@/g,
      to: 'x',
      expected: 'at least one pcie@ range',
    },
  ];
  it.each(rows)('refuses $name', ({ file, from, to, expected }) => {
    const dir = copy();
    const path = join(dir, file);
    writeFileSync(path, readFileSync(path, 'utf8').replace(from, to));
    expect(inputErrorOf(() => openCapture(dir)).expected).toBe(expected);
  });
});
