import { layout } from '../src/index.ts';

const ENTRIES = 1024;
const ENTRY = layout('ENTRY', { dwords: 1, spec: 'bench' }, {
  V: { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'valid' },
  CFG: { dw: 0, hi: 3, lo: 1, kind: 'uint', is: 'configuration' },
  RES0_5_4: { dw: 0, hi: 5, lo: 4, kind: 'res0', is: 'reserved' },
  PTR: { dw: 0, hi: 51, lo: 6, kind: 'addr', is: 'pointer, bytes' },
  RES0_58_52: { dw: 0, hi: 58, lo: 52, kind: 'res0', is: 'reserved' },
  MAX: { dw: 0, hi: 63, lo: 59, kind: 'uint', is: 'log2 of entries' },
} as const);
const { V, CFG, PTR, MAX } = ENTRY.get;
const words = Uint32Array.from({ length: ENTRIES * 2 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));

function byHand(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += 2) {
    const lo = words[at] as number;
    const hi = words[at + 1] as number;
    sum += (lo & 1) + ((lo >>> 1) & 7) + (hi >>> 27);
    sum += (hi & 0xfffff) * 0x1_0000_0000 + ((lo & 0xffffffc0) >>> 0);
  }
  return sum;
}

function byGetters(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += 2) {
    sum += V(words, at) + CFG(words, at) + MAX(words, at);
    sum += PTR(words, at);
  }
  return sum;
}

function byDecode(): number {
  let sum = 0;
  for (let at = 0; at < words.length; at += 2) {
    const { values } = ENTRY.decode(words, at);
    sum += values.V + values.CFG + values.MAX;
    sum += values.PTR;
  }
  return sum;
}

if (byHand() !== byGetters() || byHand() !== byDecode()) throw new Error('the cases differ');

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'four fields, masks by hand', reference: true, ops: ENTRIES, run: byHand },
  { name: 'four fields, getters', ops: ENTRIES, run: byGetters },
  { name: 'four fields, decode', ops: ENTRIES, run: byDecode },
];
