import { OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import {
  CACHE_EVERYTHING,
  type CachePolicy,
  type DmaAccess,
  Endpoint,
  type StaleUse,
} from '../src/index.ts';
import { ASID, AT, S2_RW, VMID } from './nested-machine.lanes.ts';
import { ALL_ON, PortMachine } from './port-machine.lanes.ts';
import { SID, verdict } from './rig.lanes.ts';

/** Two doublewords of a command. */
export type Words = readonly [dw0: bigint, dw1: bigint];

/** Tables that lead elsewhere, and the page they lead to. */
export const OTHER = {
  data: AT.data + 0x10_0000,
  stage1: 0x4060_0000,
  stage2: AT.stage2 + 0x10_0000,
  cds: 0x4027_0000,
  l1std: 0x4023_0000,
  strtab: 0x4024_0000,
} as const;

const SYNC: Words = [0x46n, 0n];
const sidOf = (sid: number): bigint => BigInt(sid) << 32n;
const ssidOf = (ssid: number): bigint => BigInt(ssid) << 12n;
const tagsOf = (vmid: number, asid = 0): bigint => (BigInt(vmid) << 32n) | (BigInt(asid) << 48n);

/** Commands by hand, from the field positions of IHI 0070 4.3 to 4.5. */
export const give = {
  cfgiSte: (leaf: 0 | 1, sid = SID): Words => [0x03n | sidOf(sid), BigInt(leaf)],
  cfgiRange: (range: number, sid = SID): Words => [0x04n | sidOf(sid), BigInt(range)],
  cfgiAll: (): Words => [0x04n, 31n],
  cfgiCd: (leaf: 0 | 1, ssid = 0, sid = SID): Words => [
    0x05n | ssidOf(ssid) | sidOf(sid),
    BigInt(leaf),
  ],
  cfgiCdAll: (sid = SID): Words => [0x06n | sidOf(sid), 0n],
  nhAll: (vmid = VMID): Words => [0x10n | tagsOf(vmid), 0n],
  nhAsid: (asid = ASID): Words => [0x11n | tagsOf(VMID, asid), 0n],
  nhVa: (iova: number, leaf: 0 | 1, asid = ASID): Words => [
    0x12n | tagsOf(VMID, asid),
    BigInt(iova) | BigInt(leaf),
  ],
  nhVaa: (iova: number, leaf: 0 | 1): Words => [0x13n | tagsOf(VMID), BigInt(iova) | BigInt(leaf)],
  el2All: (): Words => [0x20n, 0n],
  el2Asid: (asid = ASID): Words => [0x21n | tagsOf(0, asid), 0n],
  el2Va: (iova: number, leaf: 0 | 1, asid = ASID): Words => [
    0x22n | tagsOf(0, asid),
    BigInt(iova) | BigInt(leaf),
  ],
  el2Vaa: (iova: number, leaf: 0 | 1): Words => [0x23n, BigInt(iova) | BigInt(leaf)],
  s12: (vmid = VMID): Words => [0x28n | tagsOf(vmid), 0n],
  s2Ipa: (ipa: number, leaf: 0 | 1): Words => [0x2an | tagsOf(VMID), BigInt(ipa) | BigInt(leaf)],
  nsnh: (): Words => [0x30n, 0n],
  atcInv: (iova: number, size = 0, ssid?: number): Words => [
    0x40n | sidOf(SID) | (ssid === undefined ? 0n : 0x800n | ssidOf(ssid)),
    BigInt(iova) | BigInt(size),
  ],
} as const;

/** A command as a report names it, for instance `CMD_TLBI_NH_VA asid=6 vmid=3 iova=0x1000 leaf=1 ttl=0|3`. */
export function named(text: string): Words {
  const [command = '', ...rest] = text.split(' ');
  const covering = rest.includes('covering');
  const field = (name: string): number | undefined => {
    const found = rest.find((one) => one.startsWith(`${name}=`));
    return found === undefined ? undefined : Number(found.slice(name.length + 1));
  };
  if (command === 'CMD_CFGI_ALL') return give.cfgiAll();
  const opcode = (OPCODE as Readonly<Record<string, number>>)[command.slice('CMD_'.length)];
  if (opcode === undefined) throw new Error(`no such command: ${text}`);
  let dw0 = BigInt(opcode) | sidOf(field('sid') ?? 0);
  dw0 |= tagsOf(field('vmid') ?? 0, field('asid') ?? 0);
  const ssid = field('ssid');
  if (ssid !== undefined) dw0 |= ssidOf(ssid) | (command === 'CMD_ATC_INV' ? 0x800n : 0n);
  let dw1 = BigInt(field('iova') ?? field('ipa') ?? 0) | BigInt(field('leaf') ?? 1);
  if (covering) dw1 = 0n;
  if (command === 'CMD_CFGI_STE') dw1 = BigInt(field('leaf') ?? 1);
  if (command === 'CMD_ATC_INV')
    dw1 = BigInt(field('iova') ?? 0) | (rest.includes('all') ? 52n : 0n);
  return [dw0, dw1];
}

/** The machine of these tests: everything enabled, commands consumed when it is run. */
export class StaleRig extends PortMachine {
  constructor(policy: Partial<CachePolicy> = {}) {
    super({ policy: { ...CACHE_EVERYTHING, ...policy, consume: 'run' } });
  }

  /** Puts commands into the queue and leaves them there. */
  queue(...commands: readonly Words[]): void {
    let prod = this.reg(R.CMDQ_PROD);
    for (const [dw0, dw1] of commands) {
      const at = AT.cmdq + (prod % 64) * 16;
      this.word(at, dw0);
      this.word(at + 8, dw1);
      prod = (prod + 1) % 128;
    }
    this.set(R.CMDQ_PROD, prod);
  }

  /** Gives commands, each followed by a CMD_SYNC that is consumed before the next. */
  give(...commands: readonly Words[]): void {
    for (const one of commands) {
      this.queue(one, SYNC);
      this.smmu.run();
    }
  }

  /** Gives a command that is consumed, without a CMD_SYNC. */
  giveAlone(command: Words): void {
    this.queue(command);
    this.smmu.run();
  }

  queueWithSync(command: Words): void {
    this.queue(command, SYNC);
  }

  /** Does something with SMMUEN=0. */
  disabled(change: () => void): void {
    this.set(R.CR0, ALL_ON - 1);
    this.smmu.run();
    change();
    this.set(R.CR0, ALL_ON);
    this.smmu.run();
  }

  /** What became of an access, attributes included. */
  see(iova = 0x1000, more: Partial<DmaAccess> = {}): string {
    const result = this.access(iova, 'read', more);
    if (!('paddr' in result)) return verdict(result);
    return `${result.outcome} 0x${result.paddr.toString(16)} ${JSON.stringify(result.attributes)}`;
  }

  /** The same by an endpoint that keeps translations. */
  endpoint(): (iova?: number, substreamId?: number) => string {
    const endpoint = new Endpoint({ smmu: this.smmu, streamId: SID, ats: true });
    return (iova = 0x1000, substreamId = undefined) => {
      const { via, ...rest } = endpoint.access({ address: u64Of(iova), rw: 'read', substreamId });
      if (!('result' in rest)) return via;
      const { result } = rest;
      return 'paddr' in result
        ? `${via} 0x${result.paddr.toString(16)}`
        : `${via} ${result.outcome}`;
    };
  }

  missing(): readonly StaleUse[] {
    return this.smmu.staleUses.filter((use) => use.class === 'missing');
  }

  /** Stage 1 alone: page 0x1000 to the data page, page 0x3000 to the next; other tables with another page under `OTHER.stage1`. */
  stage1(): { s1: number } {
    this.ste(5).cd();
    const s1 = this.s1(0x1000, BigInt(AT.data) | 0xf47n);
    this.s1(0x3000, BigInt(AT.data + 0x1000) | 0xf47n);
    this.otherStage1();
    return { s1 };
  }

  /** Tables of stage 1 that take page 0x1000 elsewhere. */
  otherStage1(leaf = 0xf47n): void {
    this.word(OTHER.stage1, BigInt(OTHER.stage1 + 0x1000) | 3n);
    this.word(OTHER.stage1 + 0x1000, BigInt(OTHER.stage1 + 0x2000) | 3n);
    for (const page of [1, 3])
      this.word(OTHER.stage1 + 0x2000 + page * 8, BigInt(OTHER.data + (page - 1) * 0x800) | leaf);
  }

  /** Tables of stage 2 that map what lies below 2 GiB as the first do, and IPA 0x9000_0000 elsewhere. */
  otherStage2(): void {
    for (const slot of [0, 1]) this.word(OTHER.stage2 + slot * 8, this.read(AT.stage2 + slot * 8));
    this.word(OTHER.stage2 + 2 * 8, BigInt(OTHER.stage2 + 0x4000) | 3n);
    this.word(OTHER.stage2 + 0x4000 + 128 * 8, BigInt(OTHER.stage2 + 0x5000) | 3n);
    this.word(OTHER.stage2 + 0x5000, BigInt(OTHER.data) | S2_RW);
  }

  /** Stream table of two levels whose first array is the linear table of the others. */
  twoLevel(l1std: bigint): void {
    this.disabled(() => {
      this.smmu.registers.write64(R.STRTAB_BASE, OTHER.l1std, 0);
      this.set(R.STRTAB_BASE_CFG, 0x1_0189);
    });
    this.word(OTHER.l1std, l1std);
  }
}

/** L1STD to the array that the linear table is. */
export const L1STD_ACTIVE: bigint = BigInt(AT.strtab) | 7n;
