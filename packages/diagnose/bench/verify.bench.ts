import { readVerdicts } from '@iommukit/captures';
import { SmmuV3Model } from '@iommukit/smmu-v3-model';
import { mapsOf, openDump, walkAccess } from '../src/index.ts';

const image = openDump('linux-6.12-strict-up', 'idle');
const rows = readVerdicts(image.file.replace('snap.json', 'qemu-verdicts.jsonl')).rows.slice(
  0,
  200,
);
const { registers } = image.programming;
const model = new SmmuV3Model({
  memory: image.memory,
  idr: registers,
  policy: { tlb: 'none', walk: 'none', config: 'none' },
});
model.restoreRegisters(registers);

/** The recorded and decoded walk of an access against the model's own, over the same dump. */
export const cases = [
  {
    name: "the model's walk (access)",
    reference: true as const,
    ops: rows.length,
    run: () => {
      let ok = 0;
      for (const { sid, iovaWord } of rows) {
        const result = model.translate({ streamId: sid, address: iovaWord, rw: 'write' });
        if (result.outcome === 'ok') ok++;
      }
      return ok;
    },
  },
  {
    name: 'walkAccess (access)',
    ops: rows.length,
    run: () => {
      let ok = 0;
      for (const { sid, iovaWord } of rows) {
        const { result } = walkAccess(image, { streamId: sid, address: iovaWord, rw: 'write' });
        if (result.outcome === 'ok') ok++;
      }
      return ok;
    },
  },
  {
    name: 'mapsOf (leaf)',
    ops: 1002,
    run: () => mapsOf(image).reduce((sum, { leaves }) => sum + leaves, 0),
  },
];
