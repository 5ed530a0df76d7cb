import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { run } from './command.ts';

const folder = mkdtempSync(join(tmpdir(), 'replay-modes-'));
afterAll(() => rmSync(folder, { recursive: true }));

const DEVICE = '0000:01:00.0';
const PAGE = 'size=4096 unmapped_size=4096';
/** One page, mapped for 2 ms. */
const trace = join(folder, 'trace.txt');
writeFileSync(
  trace,
  [
    ' dd-7 [000] ..... 5.000000: map: IOMMU: iova=0xfffff000 - 0x100000000 paddr=0x80000000 size=4096',
    ` dd-7 [000] ..... 5.000001: dma_map_phys: ${DEVICE} dir=TO_DEVICE dma_addr=fffff000 size=512 phys_addr=80000000 attrs=`,
    ` dd-7 [000] ..... 5.002000: unmap: IOMMU: iova=0xfffff000 - 0x100000000 ${PAGE}`,
    ` dd-7 [000] ..... 5.002001: dma_unmap_phys: ${DEVICE} dir=TO_DEVICE dma_addr=fffff000 size=512 attrs=`,
    '',
  ].join('\n'),
);

describe('replay of a trace file', () => {
  test('--mode --json: one object with a member for each mode', async () => {
    const { code, out, err } = await run('replay', trace, '--mode', 'strict,lazy-percpu', '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const report = JSON.parse(out);
    expect(report).toMatchObject({
      ok: true,
      kernel: '7.2',
      summary: { modes: 2, compared: 2, equal: 2, broken: 0 },
    });
    expect(Object.keys(report.modes)).toEqual(['strict', 'lazy-percpu']);
    expect(report.modes.strict).toMatchObject({
      walks: { walks: 1, levels: 4, saved: 0 },
      iova: { allocations: 1 },
      tables: { allocated: 3 },
      exposure: { pageMilliseconds: 0 },
    });
    expect(report.modes['lazy-percpu'].exposure.pageMilliseconds).toBe(10);
    expect(report.modes['lazy-percpu'].commandsByType.TLBI_NH_ASID).toBe(1);
  });

  test('--mode: a table with a column for each mode and a row for each count', async () => {
    const { code, out } = await run('replay', trace, '--mode', 'strict,handle');
    expect(code).toBe(0);
    expect(out).toMatch(/count +│ strict │ handle/);
    expect(out).toMatch(/iovaToPhys walks +│ +1 │ +0 │/);
    expect(out).toMatch(/TLBI_NH_VA +│ +1 │ +1 │/);
    expect(out).toMatch(/ok: 2 modes, 2 of 2 translations equal, 0 invariants broken/);
  });

  test('without --mode it runs in strict mode; --kernel decides as whom', async () => {
    const { code, out } = await run('replay', trace, '--kernel', '6.1', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ kernel: '6.1', modes: { strict: { requests: 1 } } });
  });

  test('a trace of which no map can be read: exit 2, and its file is named', async () => {
    const torn = join(folder, 'torn.txt');
    writeFileSync(torn, ` dd-7 [000] ..... 5.000000: map: IOMMU: iova=0x\n`);
    const { code, err } = await run('replay', torn);
    expect(code).toBe(2);
    expect(err).toContain(torn);
  });

  const rows = [
    { name: 'an unknown mode', args: [trace, '--mode', 'strict,eager'], says: /"eager".*lazy/ },
    { name: 'an empty mode', args: [trace, '--mode', ''], says: /UNKNOWN_MODE/ },
    {
      name: 'an unknown mode of a shipped capture',
      args: ['linux-6.12-strict-up', '--mode', 'fast'],
      says: /"fast"/,
    },
    { name: 'an unknown kernel', args: [trace, '--kernel', '5.4'], says: /no profile.*5\.4/ },
    { name: 'single events', args: [trace, '--feed', 'events'], says: /--feed calls/ },
    {
      name: 'the busy dump',
      args: [trace, '--mode', 'strict', '--until', 'busy'],
      says: /--until idle or end/,
    },
  ];
  test.each(rows)('$name: exit 2 and one line on stderr', async ({ args, says }) => {
    const { code, out, err } = await run('replay', ...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});
