import { type SearchCase, searchCases } from './fragmented-space.ts';

export const cases: readonly SearchCase[] = searchCases(10_000, 0xfffff);
