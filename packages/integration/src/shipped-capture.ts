import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DATA = fileURLToPath(new URL('../data/', import.meta.url));

/**
 * The folder of a capture that comes with this package, or undefined for any other name.
 * @example shippedCapture('linux-6.12-strict-up')
 */
export function shippedCapture(name: string): string | undefined {
  return shippedCaptures().includes(name) ? `${DATA}${name}` : undefined;
}

/**
 * Names of the captures that come with this package.
 * @example shippedCaptures() // ['linux-6.12-strict-up']
 */
export function shippedCaptures(): string[] {
  if (!existsSync(DATA)) return [];
  return readdirSync(DATA, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}
