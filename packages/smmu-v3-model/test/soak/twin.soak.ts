/*
 * The twin walker against the model over many random (table, access) pairs.
 * Run: IOMMUKIT_SOAK=1000000 node --conditions=@iommukit/source --import=tsx packages/smmu-v3-model/test/soak/twin.soak.ts
 * IOMMUKIT_SOAK is the number of pairs, IOMMUKIT_SEED the first seed (0), SHOW the differences that are printed (20);
 * IOMMUKIT_CACHE=everything runs the model with all caches, over the cases in which they cannot tell.
 */
import { CACHE_EVERYTHING } from '../../src/index.ts';
import { newReport, runTwinCases } from '../twin-walker-rig.lanes.ts';

const pairs = Number(process.env['IOMMUKIT_SOAK'] ?? 100_000);
const seed = Number(process.env['IOMMUKIT_SEED'] ?? 0);
const show = Number(process.env['SHOW'] ?? 20);
const policy = process.env['IOMMUKIT_CACHE'] === 'everything' ? { policy: CACHE_EVERYTHING } : {};
const report = newReport();
for (let at = seed; report.pairs < pairs; at += 1600)
  runTwinCases({ seed: at, cases: 1600, report, keep: 10_000, ...policy });
for (const [outcome, times] of [...report.outcomes].sort())
  process.stdout.write(`${String(times).padStart(9)} ${outcome}\n`);
for (const [code, times] of report.unmodelled)
  process.stdout.write(`${String(times).padStart(9)} ${code}\n`);
const kinds = new Map<string, number>();
for (const { model, twin, note } of report.differences) {
  const kind =
    `${note.split(' ')[1]} model ${model.split(' ').slice(0, 2).join(' ')} ${model.includes(': model') ? 'memory' : ''}, twin ${twin.split(' ').slice(0, 2).join(' ')}`.replace(
      /0x[0-9a-f]+/g,
      'pa',
    );
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
}
for (const [kind, times] of kinds) process.stdout.write(`${times} ${kind}\n`);
for (const difference of report.differences.slice(0, show))
  process.stdout.write(`${JSON.stringify(difference, null, 1)}\n`);
process.stdout.write(`${report.cases} cases, ${report.pairs} pairs, ${report.differing} differ\n`);
process.exitCode = report.differing === 0 ? 0 : 1;
