import { CD, REGISTER_OFFSET as R, STE } from '@iommukit/arm-arch';
import { encodeFeatures, FEATURE_PRESETS, type Features, type ModelOptions } from '../src/index.ts';
import { RIG_AT, Rig, SID } from './rig.lanes.ts';

export const AT = { ...RIG_AT, stage1: 0x4040_0000, stage2: 0x4080_0000 } as const;
export const VMID = 3;
export const ASID = 6;
/** Stage-1 leaf: valid page, AttrIndx 1, unprivileged read-write, ISH, AF, nG. */
export const S1_RW = 0xf47n;
/** Stage-2 leaf: valid page, Normal WB, read-write, ISH, AF. */
export const S2_RW = 0x7ffn;
export const S2_RO = 0x77fn;
export const NO_AF = ~0x400n;

export type SteFields = Partial<Parameters<typeof STE.encode>[0]>;
export type CdFields = Partial<Parameters<typeof CD.encode>[0]>;

/** A machine whose stream 0x30 uses stage 1, stage 2 or both, 4 KiB granule; stage 2 maps IPA to itself plus `shift`. */
export class NestedMachine extends Rig {
  #prod = 0;
  #next = { [AT.stage1]: AT.stage1 as number, [AT.stage2]: AT.stage2 as number };

  constructor(
    options: { features?: Partial<Features>; policy?: ModelOptions['policy'] } = {},
    more: Partial<ModelOptions> = {},
  ) {
    const { features = {}, policy = {} } = options;
    super({
      idr: encodeFeatures({ ...FEATURE_PRESETS.full, ...features }),
      policy,
      ...more,
    });
    const { registers } = this.smmu;
    registers.write32(R.CR2, 2);
    registers.write64(R.STRTAB_BASE, AT.strtab, 0);
    registers.write32(R.STRTAB_BASE_CFG, 9);
    registers.write64(R.CMDQ_BASE, AT.cmdq + 6, 0);
    registers.write64(R.EVENTQ_BASE, AT.evtq + 5, 0);
    registers.write32(R.CR0, 0xd);
  }

  ste(config: 5 | 6 | 7, more: SteFields = {}, sid = SID): this {
    this.words(
      AT.strtab + sid * 64,
      STE.encode({
        V: 1,
        Config: config,
        S1ContextPtr: AT.cd,
        SHCFG: 1,
        S2VMID: VMID,
        S2T0SZ: 24,
        S2SL0: 1,
        S2PS: 5,
        S2AA64: 1,
        S2R: 1,
        S2TTB: AT.stage2,
        ...more,
      }),
    );
    return this;
  }

  cd(more: CdFields = {}, at: number = AT.cd): this {
    this.words(
      at,
      CD.encode({
        V: 1,
        AA64: 1,
        A: 1,
        R: 1,
        ASID,
        IPS: 5,
        T0SZ: 25,
        EPD1: 1,
        TTB0: AT.stage1,
        MAIR0: 0x00ff_4400,
        ...more,
      }),
    );
    return this;
  }

  /** Writes a leaf into 4 KiB tables below `root` that start at level 1; returns its address. */
  map(root: 0x4040_0000 | 0x4080_0000, input: number, leaf: bigint, level = 3): number {
    let table: number = root;
    for (let at = 1; at < level; at++) {
      const slot = table + (Math.floor(input / 2 ** (39 - 9 * at)) % 512) * 8;
      // The start level of stage 2 has two concatenated tables.
      const found = this.memory.load64(slot);
      if (found % 2 === 0) {
        this.#next[root] = (this.#next[root] as number) + 0x4000;
        this.word(slot, BigInt(this.#next[root] as number) | 3n);
        table = this.#next[root] as number;
      } else table = found - (found % 4096);
    }
    const slot = table + (Math.floor(input / 2 ** (39 - 9 * level)) % 512) * 8;
    this.word(slot, leaf);
    return slot;
  }

  s1(iova: number, leaf: bigint, level = 3): number {
    return this.map(AT.stage1, iova, leaf, level);
  }

  s2(ipa: number, leaf: bigint, level = 3): number {
    return this.map(AT.stage2, ipa, leaf, level);
  }

  /** Nested: page 0x1000 -> IPA 0x9000_0000 -> data; CD and stage-1 tables mapped by stage 2 one to one. */
  nested(
    ste: SteFields = {},
    cd: CdFields = {},
  ): { s1: number; s2: number; cd: number; table: number } {
    this.ste(7, ste).cd(cd);
    const s1 = this.s1(0x1000, 0x9000_0000n | S1_RW);
    const s2 = this.s2(0x9000_0000, BigInt(AT.data) | S2_RW);
    const under = this.s2(AT.cd, BigInt(AT.cd) | S2_RW);
    let table = 0;
    for (let page: number = AT.stage1; page < AT.stage1 + 0x10_000; page += 4096) {
      const slot = this.s2(page, BigInt(page) | S2_RW);
      if (page === AT.stage1) table = slot;
    }
    return { s1, s2, cd: under, table };
  }

  command(dw0: bigint, dw1 = 0n): void {
    for (const [a, b] of [
      [dw0, dw1],
      [0x46n, 0n],
    ] as const) {
      const at = AT.cmdq + (this.#prod % 64) * 16;
      this.word(at, a);
      this.word(at + 8, b);
      this.#prod = (this.#prod + 1) % 128;
    }
    this.smmu.registers.write32(R.CMDQ_PROD, this.#prod);
    this.smmu.run();
  }

  get records(): number {
    return this.smmu.registers.read32(R.EVENTQ_PROD);
  }
}

/** Commands by hand, from the field positions of IHI 0070 4.3 and 4.4. */
export const command = {
  cfgiSte: (): [bigint, bigint] => [0x03n | (BigInt(SID) << 32n), 1n],
  cfgiCd: (): [bigint, bigint] => [0x05n | (BigInt(SID) << 32n), 1n],
  nhAll: (vmid = VMID): [bigint, bigint] => [0x10n | (BigInt(vmid) << 32n), 0n],
  nhVa: (iova: number, leaf = 1, asid = ASID): [bigint, bigint] => [
    0x12n | (BigInt(VMID) << 32n) | (BigInt(asid) << 48n),
    BigInt(iova) | BigInt(leaf),
  ],
  nhAsid: (asid = ASID): [bigint, bigint] => [
    0x11n | (BigInt(VMID) << 32n) | (BigInt(asid) << 48n),
    0n,
  ],
  s12: (vmid = VMID): [bigint, bigint] => [0x28n | (BigInt(vmid) << 32n), 0n],
  s2Ipa: (ipa: number, leaf = 1): [bigint, bigint] => [
    0x2an | (BigInt(VMID) << 32n),
    BigInt(ipa) | BigInt(leaf),
  ],
  nsnh: (): [bigint, bigint] => [0x30n, 0n],
} as const;
