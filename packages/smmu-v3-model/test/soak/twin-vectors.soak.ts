/*
 * All recorded QEMU programs through the twin walker: every access with neither `stale` nor `deviation` has to be equal.
 * Run: VECTORS=../shared/data/qemu-vectors node --import=tsx packages/smmu-v3-model/test/soak/twin-vectors.soak.ts
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { runVector, type VectorHeader, type VectorProgram } from '../twin-vectors.lanes.ts';

const directory = process.env['VECTORS'];
if (directory === undefined)
  throw new Error('set VECTORS to the directory of the recorded programs');
let differ = 0;
for (const name of ['s1', 's2', 'nested']) {
  const lines = gunzipSync(readFileSync(`${directory}/${name}.ndjson.gz`))
    .toString()
    .trim()
    .split('\n');
  const { header } = JSON.parse(lines[0] as string) as { header: VectorHeader };
  let compared = 0;
  let equal = 0;
  let flagged = 0;
  let flaggedEqual = 0;
  for (const line of lines.slice(1)) {
    const program = JSON.parse(line) as VectorProgram;
    for (const outcome of runVector(header, program)) {
      if (outcome.step.stale === true || outcome.step.deviation !== undefined) {
        flagged++;
        if (outcome.equal) flaggedEqual++;
        continue;
      }
      compared++;
      if (outcome.equal) equal++;
      else if (differ++ < Number(process.env['SHOW'] ?? 20))
        process.stdout.write(
          `${program.id} ${program.base} ${program.note} ${JSON.stringify(outcome.step)}\n   twin ${outcome.text}\n`,
        );
    }
  }
  process.stdout.write(
    `${name}: ${lines.length - 1} programs, ${compared} accesses compared, ${equal} equal; ${flagged} flagged, of them ${flaggedEqual} equal\n`,
  );
}
process.exitCode = differ === 0 ? 0 : 1;
