import { type SearchCase, searchCases } from './fragmented-space.ts';

export const cases: readonly SearchCase[] = searchCases(1_000_000, 0xffffff);
