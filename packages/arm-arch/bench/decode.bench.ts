import { CD, CMD_TLBI_NH_VA, queueAdvance, queueFull, STE } from '../src/index.ts';

const ENTRIES = 4096;
const stes = new Uint32Array(ENTRIES * 16);
for (let i = 0; i < ENTRIES; i++) {
  stes[i * 16] = 0x40000000 + i * 64 + 0xb;
  stes[i * 16 + 2] = 0xd6;
}
const { V, Config, S1ContextPtr, S1DSS } = STE.get;
const command = new Uint32Array(4);
const { Address, ASID, TG } = CMD_TLBI_NH_VA.set;
const cd = CD.encode({ V: 1, T0SZ: 16, ASID: 7, TTB0: 0x46386000 });

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'STE fields by layout getters',
    ops: ENTRIES,
    run() {
      let sum = 0;
      for (let at = 0; at < stes.length; at += 16)
        sum += V(stes, at) + Config(stes, at) + S1DSS(stes, at) + S1ContextPtr(stes, at);
      return sum;
    },
  },
  {
    name: 'STE fields by hand',
    reference: true,
    ops: ENTRIES,
    run() {
      let sum = 0;
      for (let at = 0; at < stes.length; at += 16) {
        const lo = stes[at] as number;
        const hi = stes[at + 1] as number;
        sum +=
          (lo & 1) +
          ((lo >>> 1) & 7) +
          ((stes[at + 2] as number) & 3) +
          ((lo & 0xffffffc0) >>> 0) +
          (hi & 0xffffff) * 0x1_0000_0000;
      }
      return sum;
    },
  },
  {
    name: 'CMD_TLBI_NH_VA by layout setters',
    ops: ENTRIES,
    run() {
      let sum = 0;
      for (let i = 0; i < ENTRIES; i++) {
        command.fill(0);
        ASID(command, i);
        TG(command, 1);
        Address(command, 0xff000000 + i * 4096);
        sum += (command[2] as number) + (command[1] as number);
      }
      return sum;
    },
  },
  {
    name: 'CD decode, for people',
    ops: 64,
    run() {
      let sum = 0;
      for (let i = 0; i < 64; i++) sum += CD.decode(cd).values.ASID;
      return sum;
    },
  },
  {
    name: 'queue index advance and full',
    ops: ENTRIES,
    run() {
      let prod = 0;
      let full = 0;
      for (let i = 0; i < ENTRIES; i++) {
        if (queueFull(prod, 0, 8)) full++;
        prod = queueAdvance(prod, 1, 8);
      }
      return full;
    },
  },
];
