import { plainStores, wholeStack } from './stack-rig.ts';

const mapUnmap = wholeStack();

export const cases = [
  { name: 'plain stores (page)', reference: true as const, ops: 512, run: () => plainStores(512) },
  { name: 'map+unmap, whole stack (page)', ops: 512, run: () => mapUnmap(512 * 4096) },
];
