import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

// No allocation per call on the hot path. A child process with a young generation so large that nothing is collected meanwhile
// makes up to 3 x 4.5 x 10^5 calls of each format; what the heap holds then, garbage included, is what they allocated.
const CHILD = fileURLToPath(new URL('./heap-child.ts', import.meta.url));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
test('the hot calls allocate nothing', () => {
  const text = execFileSync(
    process.execPath,
    [
      '--expose-gc',
      '--max-semi-space-size=256',
      '--min-semi-space-size=256',
      '--conditions=@iommukit/source',
      '--import',
      TSX,
      CHILD,
    ],
    { encoding: 'utf8' },
  );
  const answer = JSON.parse(text) as Record<
    string,
    { bytesPerCall: number; kept: number; calls: number }
  >;
  const rows = Object.entries(answer);
  process.stdout.write(
    `heap bytes per call: ${rows.map(([name, { bytesPerCall }]) => `${name} ${bytesPerCall.toFixed(2)}`).join(', ')}\n`,
  );
  expect(rows.length).toBeGreaterThanOrEqual(7);
  for (const [name, { bytesPerCall, kept, calls }] of rows) {
    expect(calls).toBeGreaterThanOrEqual(100_000);
    // The smallest object has 16 bytes, which by one of the three calls would be 5.3 for each.
    expect(bytesPerCall, `${name}: bytes per call`).toBeLessThan(4);
    expect(kept, `${name}: bytes kept`).toBeLessThan(200_000);
  }
}, 60_000);
