import { expect, test } from 'vitest';
import { DRIVER_PROFILES, driverProfile, UnknownDriverKernel } from '../src/index.ts';

test('the kernels, and what tells neighbours apart', () => {
  expect(Object.keys(DRIVER_PROFILES)).toEqual(['6.1', '6.12', '7.2', '7.3']);
  const differing = (a: keyof typeof DRIVER_PROFILES, b: keyof typeof DRIVER_PROFILES): string[] =>
    Object.entries(DRIVER_PROFILES[a])
      .filter(([key, value]) =>
        Object.entries(DRIVER_PROFILES[b]).some(([k, v]) => k === key && v !== value),
      )
      .map(([key]) => key);
  expect(differing('6.1', '6.12')).toEqual([
    'dirtyTracking',
    'entryWriter',
    'shareability',
    'cdOwner',
    'reattach',
    'asidAlloc',
  ]);
  expect(differing('6.12', '7.2')).toHaveLength(16);
  expect(differing('7.2', '7.3')).toEqual(['repeatErratum']);
});

test('any other kernel is an error', () => {
  expect(driverProfile('7.3')).toBe(DRIVER_PROFILES['7.3']);
  for (const kernel of ['5.4', 'toString', '6.12.107', ''])
    expect(() => driverProfile(kernel)).toThrow(UnknownDriverKernel);
});
