import { readFileSync } from 'node:fs';
import { parseHex64, type U64 } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { SmmuV3Model } from '../src/index.ts';

interface Capture {
  readonly registers: Readonly<Record<string, string>>;
  readonly mapped: number;
  readonly faulting: number;
  readonly memory: Readonly<Record<string, string>>;
  readonly verdicts: readonly { iova: string; pa: string | null; write: string }[];
  readonly truth: readonly { iova: string; pa: string }[];
  readonly events: readonly string[][];
}

const capture = JSON.parse(
  readFileSync(new URL('fixtures/linux-6.12-fault.json', import.meta.url), 'utf8'),
) as Capture;

function hex64(text: string | undefined): U64 {
  const value = parseHex64(text ?? '');
  if (value === undefined) throw new Error(`no number: ${text}`);
  return value;
}

function restore(): { memory: PhysicalMemory; smmu: SmmuV3Model } {
  const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x3000_0000 }]);
  for (const [pa, word] of Object.entries(capture.memory)) {
    const { lo, hi } = hex64(word);
    memory.store64(Number(pa), lo, hi);
  }
  const registers = new Map(
    Object.entries(capture.registers).map(([k, v]) => [Number(k), Number(v)]),
  );
  const smmu = new SmmuV3Model({ memory, idr: registers });
  smmu.restoreRegisters(registers);
  return { memory, smmu };
}

describe('a dump of Linux 6.12 on QEMU', () => {
  test('writes get the verdict that QEMU gave, at the same physical address', () => {
    const { smmu } = restore();
    expect(capture.verdicts.length).toBeGreaterThan(40);
    for (const { iova, pa, write } of capture.verdicts) {
      const result = smmu.translate({
        streamId: capture.mapped,
        address: hex64(iova),
        rw: 'write',
      });
      expect([iova, result.outcome === 'fault' ? result.event.event : result.outcome]).toEqual([
        iova,
        write,
      ]);
      if (result.outcome === 'ok') expect(result.paddr).toBe(Number(pa));
    }
  });

  test("reads reach the address of QEMU's own last translation, by both entry points", () => {
    const { smmu } = restore();
    expect(capture.truth.length).toBeGreaterThan(10);
    for (const { iova, pa } of capture.truth) {
      const result = smmu.translate({ streamId: capture.mapped, address: hex64(iova), rw: 'read' });
      expect(result).toMatchObject({ outcome: 'ok', paddr: Number(pa) });
      const offset = Number(iova) % 4096;
      expect(smmu.translateFast(capture.mapped, Number(iova) - offset, 0)).toBe(
        Number(pa) - offset,
      );
    }
  });

  test('faults write the records that QEMU wrote', () => {
    const { memory, smmu } = restore();
    expect(capture.events.length).toBeGreaterThan(5);
    capture.events.forEach((words, i) => {
      const address = hex64(words[2]);
      const rw = (hex64(words[1]).hi & 8) === 0 ? 'write' : 'read';
      const result = smmu.translate({ streamId: capture.faulting, address, rw });
      expect(result).toMatchObject({ outcome: 'fault', record: 'written', response: 'abort' });
      const at = 0x6b20_0000 + (0x18 + i) * 32;
      const record = [0, 8, 16, 24].map((offset) => ({
        lo: memory.load64(at + offset),
        hi: memory.hi,
      }));
      expect(record).toEqual(words.map(hex64));
    });
    expect(smmu.registers.read32(0x100a8)).toBe(0x18 + capture.events.length);
  });
});
