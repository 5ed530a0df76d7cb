import { type SearchCase, searchCases } from './fragmented-space.ts';

export const cases: readonly SearchCase[] = searchCases(100_000, 0xfffff);
