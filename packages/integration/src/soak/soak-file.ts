import { readFileSync } from 'node:fs';
import { InputError } from '@iommukit/captures';
import {
  SOAK_DIRECTIONS,
  SOAK_LIMITS,
  SOAK_OPERATIONS,
  SOAK_WAYS,
  type SoakOperation,
} from './soak-operation.ts';
import type { SoakViolation } from './soak-violation.ts';

const KIND = 'iommukit-soak';
const VERSION = 1;

/**
 * A run as a file: what it was drawn from, what it broke, and its operations.
 * @example const file: SoakFile = { kind: 'iommukit-soak', version: 1, seed: 1, violation: null, operations: [] };
 */
export interface SoakFile {
  readonly kind: typeof KIND;
  readonly version: typeof VERSION;
  /** Of the run that was shrunk. */
  readonly seed: number;
  readonly violation: SoakViolation | null;
  readonly operations: readonly SoakOperation[];
}

const CHOICES = { op: SOAK_OPERATIONS, way: SOAK_WAYS, dir: SOAK_DIRECTIONS } as const;

/**
 * The text of a file that `readSoakFile` reads: one operation a line.
 * @example writeFileSync('failing.json', soakFileText(1, violation, operations));
 */
export function soakFileText(
  seed: number,
  violation: SoakViolation | null,
  operations: readonly SoakOperation[],
): string {
  const head = JSON.stringify({ kind: KIND, version: VERSION, seed, violation });
  const lines = operations.map((operation) => `  ${JSON.stringify(operation)}`);
  return `${head.slice(0, -1)},"operations":[\n${lines.join(',\n')}\n]}\n`;
}

/**
 * Reads a run that `soakFileText` wrote. Throws {@link InputError}, one line, for a file that cannot be read or is none.
 * @example const { operations } = readSoakFile('failing.json');
 */
export function readSoakFile(file: string): SoakFile {
  const value = parsed(file);
  if (!isRecord(value) || value['kind'] !== KIND)
    throw new InputError({ file, expected: `an object of kind "${KIND}"` });
  if (value['version'] !== VERSION) throw new InputError({ file, expected: `version ${VERSION}` });
  const { seed, violation = null, operations } = value;
  if (!isBelow(seed, SOAK_LIMITS.seed))
    throw new InputError({ file, expected: '"seed": a number from 0 to 4294967295' });
  if (!Array.isArray(operations) || operations.length === 0)
    throw new InputError({ file, expected: '"operations": an array of one operation or more' });
  for (const [i, operation] of operations.entries()) {
    const wrong = complaint(operation);
    if (wrong !== null) throw new InputError({ file, expected: `operations[${i}]: ${wrong}` });
  }
  return {
    kind: KIND,
    version: VERSION,
    seed: seed as number,
    violation: violation as SoakViolation | null,
    operations: operations as SoakOperation[],
  };
}

function parsed(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new InputError({ file, expected: `a file to read (${reason})` });
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new InputError({ file, expected: 'valid JSON' });
  }
}

/** What is wrong with an operation, or null. */
function complaint(operation: unknown): string | null {
  if (!isRecord(operation)) return 'an object';
  for (const [name, known] of Object.entries(CHOICES))
    if (!(known as readonly unknown[]).includes(operation[name]))
      return `"${name}": one of ${known.join(' ')}`;
  for (const [name, limit] of Object.entries(SOAK_LIMITS)) {
    const least = name === 'pages' ? 1 : 0;
    const value = operation[name];
    if (!isBelow(value, limit) || value < least)
      return `"${name}": a number from ${least} to ${limit - 1}`;
  }
  return null;
}

function isBelow(value: unknown, limit: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < limit;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
