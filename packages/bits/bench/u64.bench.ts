import { fromLanes, hiOf, indexAt, loOf } from '../src/index.ts';

const VALUES = 1024;
const addresses = Array.from({ length: VALUES }, (_, i) => (i * 7919 + 1) * 0x1_0000_1000);
const bigints = addresses.map(BigInt);

function byHand(): number {
  let sum = 0;
  for (let i = 0; i < VALUES; i++) {
    const n = addresses[i] as number;
    const lo = n >>> 0;
    const hi = (n / 0x1_0000_0000) >>> 0;
    sum += hi * 0x1_0000_0000 + lo + ((n / 0x1000) & 511);
  }
  return sum;
}

function byLanes(): number {
  let sum = 0;
  for (let i = 0; i < VALUES; i++) {
    const n = addresses[i] as number;
    sum += fromLanes(loOf(n), hiOf(n)) + indexAt(n, 0x1000, 511);
  }
  return sum;
}

function byBigint(): number {
  let sum = 0;
  for (let i = 0; i < VALUES; i++) {
    const n = bigints[i] as bigint;
    const lo = n & 0xffffffffn;
    const hi = n >> 32n;
    sum += Number((hi << 32n) | lo) + Number((n >> 12n) & 511n);
  }
  return sum;
}

if (byHand() !== byLanes() || byHand() !== byBigint()) throw new Error('the cases differ');

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'split, join, index: inlined', reference: true, ops: VALUES, run: byHand },
  { name: 'split, join, index: functions', ops: VALUES, run: byLanes },
  { name: 'split, join, index: bigint', ops: VALUES, run: byBigint },
];
