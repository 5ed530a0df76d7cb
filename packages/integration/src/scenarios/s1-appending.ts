/* S1-12: a live-migration buffer that grows by appending. */
import { hex, SZ_4K } from '@iommukit/bits';
import { patternBytes } from '../memory-bytes.lanes.ts';
import { type MigrationBuffer, ScatterBuffer, TwoStepBuffer } from '../users/migration-buffer.ts';
import { type DmaRig, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { scat } from './setup.ts';

const DATA = 0x4100_0000;
const CHUNK = 64;

/** Grows a buffer to `pages`, lets the device write all of it and the CPU read it. */
function migrate(dma: DmaRig, buffer: MigrationBuffer, pages: number): Observed {
  const addresses = scat(pages, SZ_4K, DATA).map(({ paddr }) => paddr);
  const grown: number[] = [];
  const { counts, result: address } = dma.measure(() => {
    for (let at = 0; at < pages; at += CHUNK) {
      buffer.append(addresses.slice(at, at + CHUNK));
      grown.push(buffer.bytes);
    }
    return buffer.map();
  });
  const state = patternBytes(3, pages * SZ_4K);
  const written = dma.deviceWrite(address, state);
  const undo = dma.count(() => buffer.unmap());
  const right = addresses.every((paddr, i) => {
    const found = dma.cpuRead(paddr, SZ_4K);
    return found.every((byte, k) => byte === state[i * SZ_4K + k]);
  });
  dma.expectAt(address, -1);
  return {
    ...counts,
    ...{ address: hex(address), first: grown[0] ?? -1, bytes: buffer.bytes, written, right },
    ...{ undoWalk: undo.walk, undoFmt: undo.fmt, undoVA: undo.VA, undoSYNC: undo.SYNC },
    live: dma.liveIovas,
  };
}

const SIZES = [
  // Less than a leaf table; then whole leaf tables, which one unmap takes out as blocks are.
  {
    pages: 256,
    expected: {
      ...{ address: '0xfff00000', fmt: 256, lvl: 1024, alloc: 3, st: 259 },
      ...{ undoFmt: 1, undoVA: 1, undoSYNC: 1 },
    },
  },
  {
    pages: 2048,
    expected: {
      ...{ address: '0xff800000', fmt: 2048, lvl: 8192, alloc: 6, st: 2054 },
      ...{ undoFmt: 1, undoVA: 5, undoSYNC: 5 },
    },
  },
];

export const s112: Scenario = {
  id: 'S1-12',
  title: 'live-migration buffer grown by appending',
  *cases(): Iterable<ScenarioCase> {
    const same = { iovas: 1, hook: 1, walk: 0, undoWalk: 0, cmd: 0, written: true, right: true };
    for (const { pages, expected } of SIZES) {
      yield dmaCase({
        way: `scatter list, ${pages} pages`,
        rig: { hook: true },
        run: (dma) => migrate(dma, new ScatterBuffer(dma.api, dma.dev), pages),
        expected: { ...same, ...expected, first: CHUNK * 32, bytes: pages * 32, live: 0 },
      });
      yield dmaCase({
        way: `two-step, ${pages} pages`,
        rig: { hook: true },
        run: (dma) => migrate(dma, new TwoStepBuffer(dma.api, dma.dev, pages), pages),
        expected: { ...same, ...expected, first: 16, bytes: 16, live: 0 },
      });
    }
  },
};
