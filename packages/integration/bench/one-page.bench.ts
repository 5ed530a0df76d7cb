import { plainStores, wholeStack } from './stack-rig.ts';

const mapUnmap = wholeStack();

export const cases = [
  { name: 'plain stores (page)', reference: true as const, ops: 1, run: () => plainStores(1) },
  { name: 'map+unmap, whole stack (page)', ops: 1, run: () => mapUnmap(1 * 4096) },
];
