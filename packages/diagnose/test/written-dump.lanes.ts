import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DumpImage, openDump } from '../src/index.ts';

/** ID registers of QEMU 11.1.3 with both stages. */
const IDR = { '0x0': 0x0d44101b, '0x4': 0x02730010, '0xc': 0x1414, '0x14': 0x74, '0x1c': 1 };

export const STRTAB = 0x4020_0000;
export const CMDQ = 0x4028_0000;
export const EVTQ = 0x4029_0000;
/** CD of the captures: T0SZ 16, 4 KiB, EPD1, V, 44 bits, AA64, R, A, ASET, ASID 6. */
export const CD_DW0 = 0x0006_e204_c000_3510n;
export const STE_DW1 = 0xd6n;

const root = mkdtempSync(join(tmpdir(), 'dump-'));
let made = 0;

/** Removes every dump that was written. */
export function removeDumps(): void {
  rmSync(root, { recursive: true, force: true });
}

/** A dump put together word by word: linear stream table of 512 streams, queues of 16 and 8 entries, all registers replaceable. */
export class WrittenDump {
  readonly dir: string = join(root, String(made++));
  readonly registers: Record<string, number> = {
    ...IDR,
    '0x20': 0xd,
    '0x24': 0xd,
    '0x2c': 2,
    '0x44': 0x1000,
    '0x60': 0,
    '0x64': 0,
    '0x80': STRTAB,
    '0x84': 0,
    '0x88': 9,
    '0x90': CMDQ + 4,
    '0x94': 0,
    '0x98': 0,
    '0x9c': 0,
    '0xa0': EVTQ + 3,
    '0xa4': 0,
    '0x100a8': 0,
    '0x100ac': 0,
  };
  readonly #words = new Map<number, bigint>();

  constructor() {
    // The stream table is whole, as software writes it.
    for (let at = STRTAB; at < STRTAB + 512 * 64; at += 4096) this.word(at, this.at(at));
  }

  at(pa: number): bigint {
    return this.#words.get(pa) ?? 0n;
  }

  word(pa: number, value: bigint): this {
    this.#words.set(pa, value);
    return this;
  }

  words(pa: number, ...values: bigint[]): this {
    for (const [i, value] of values.entries()) this.word(pa + i * 8, value);
    return this;
  }

  ste(streamId: number, ...dwords: bigint[]): this {
    return this.words(STRTAB + streamId * 64, ...dwords);
  }

  /** A stage-1 stream with a CD of its own at `cd` and its first table at `table`. */
  stage1(streamId: number, cd: number, table: number, asid = 6n): this {
    this.ste(streamId, BigInt(cd) | 0xbn, STE_DW1);
    const dw0 = (CD_DW0 & 0xffff_ffff_ffffn) | (asid << 48n);
    return this.words(cd, dw0, BigInt(table), 0n, 0xffff_ffff_f404_ff44n);
  }

  /** Tables of 4 KiB from `level` on that lead from `input` to `leaf`; new tables follow `next`. */
  map(root: number, input: number, leaf: bigint, from: { level: number; next: number }): this {
    let table = root;
    let { next } = from;
    const sizes = [2 ** 39, 2 ** 30, 2 ** 21, 2 ** 12];
    for (let level = from.level; level < 3; level++) {
      const at = table + (Math.floor(input / (sizes[level] as number)) % 512) * 8;
      if (this.at(at) === 0n) {
        this.word(at, BigInt(next) | 3n);
        this.word(next, this.at(next));
        next += 4096;
      }
      table = Number(this.at(at) & 0xffff_ffff_f000n);
    }
    return this.word(table + (Math.floor(input / 4096) % 512) * 8, leaf);
  }

  /** The folder of the dump, with more files beside it. */
  write(files: Readonly<Record<string, string>> = {}): string {
    mkdirSync(this.dir, { recursive: true });
    const pages = [...new Set([...this.#words.keys()].map((pa) => pa - (pa % 4096)))].sort(
      (a, b) => a - b,
    );
    const bin = Buffer.alloc(pages.length * 4096);
    for (const [pa, value] of this.#words)
      bin.writeBigUInt64LE(value, pages.indexOf(pa - (pa % 4096)) * 4096 + (pa % 4096));
    const reg = (offset: string): number => this.registers[offset] ?? 0;
    const queue = (base: string, prod: string, cons: string) => ({
      pa: hex(reg(base) - (reg(base) % 32)),
      log2: reg(base) % 32,
      prod: reg(prod),
      cons: reg(cons),
      wrapped: false,
      entriesKept: 0,
    });
    let validStes = 0;
    for (let sid = 0; sid < 512; sid++) if (this.at(STRTAB + sid * 64) & 1n) validStes++;
    const snapshot = {
      tag: 'DUMP-IDLE',
      qemuTraceByteOffset: 0,
      meta: {
        cmdq: queue('0x90', '0x98', '0x9c'),
        evtq: queue('0xa0', '0x100a8', '0x100ac'),
        strtab: { base: hex(STRTAB), fmt: 0, split: 0, log2size: 9 },
      },
      kinds: { page: { n: pages.length, bytes: bin.length } },
      validStes,
      stes: this.#listed(),
      regs: Object.fromEntries(Object.entries(this.registers).map(([k, v]) => [k, hex(v)])),
      segments: pages.map((pa, i) => ({
        physAddr: hex(pa),
        length: 4096,
        kind: 'page',
        offset: i * 4096,
      })),
    };
    writeFileSync(join(this.dir, 'DUMP-IDLE.snap.json'), JSON.stringify(snapshot));
    writeFileSync(join(this.dir, 'DUMP-IDLE.snap.bin'), bin);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.dir, name), text);
    return this.dir;
  }

  open(): DumpImage {
    return openDump(this.write());
  }

  /** STEs other than abort, as the dump's author lists them. */
  #listed(): object[] {
    const out: object[] = [];
    for (let sid = 0; sid < 512; sid++) {
      const at = STRTAB + sid * 64;
      const config = Number((this.at(at) >> 1n) & 7n);
      if (this.at(at) % 2n === 1n && config !== 0)
        out.push({ sid: hex(sid), config, d: [0, 8, 16, 24].map((o) => hex(this.at(at + o))) });
    }
    return out;
  }
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
