import { fromLanes } from '@iommukit/bits';
import type { UnreadLine } from './input-error.ts';
import { eachLine, LineScanner } from './line-scanner.ts';

/**
 * QEMU translated an access: `iova` and `pa` keep their low bits (exact below 2^53); the lanes are exact always.
 * `perm`: 1 read, 2 write, 3 both.
 * @example const page = (op: QemuTranslation) => op.iova - (op.iova % 4096);
 */
export interface QemuTranslation {
  readonly op: 'T';
  readonly line: number;
  readonly sid: number;
  readonly iova: number;
  readonly iovaLo: number;
  readonly iovaHi: number;
  readonly pa: number;
  readonly perm: number;
}

/**
 * QEMU consumed a command; `opcode` is its name without `CMD_` (IHI 0070 section 4.1).
 * @example const sync = (op: QemuCommand) => op.opcode === 'SYNC';
 */
export interface QemuCommand {
  readonly op: 'C';
  readonly line: number;
  readonly opcode: string;
}

/**
 * QEMU's page invalidation: `addr` is page-aligned; `tg`, `ttl` and `leaf` as in the command (IHI 0070 section 4.4).
 * @example const bytes = (op: QemuInvalidation) => op.numPages * 4096;
 */
export interface QemuInvalidation {
  readonly op: 'I';
  readonly line: number;
  readonly vmid: number;
  readonly asid: number;
  readonly addr: number;
  readonly tg: number;
  readonly numPages: number;
  readonly ttl: number;
  readonly leaf: boolean;
  readonly stage: number;
}

/**
 * The guest wrote a register at byte `offset`: the value's lanes and its size in bytes.
 * @example const cmdqProd = (op: QemuRegisterWrite) => op.offset === 0x98;
 */
export interface QemuRegisterWrite {
  readonly op: 'W';
  readonly line: number;
  readonly offset: number;
  readonly lo: number;
  readonly hi: number;
  readonly size: number;
}

/**
 * QEMU recorded an event; `type` is its name (IHI 0070 section 7.3).
 * @example const fault = (op: QemuEvent) => op.type === 'F_TRANSLATION';
 */
export interface QemuEvent {
  readonly op: 'E';
  readonly line: number;
  readonly type: string;
  readonly sid: number;
}

/**
 * An access that was not translated: `By` bypass, `Di` SMMU disabled, `Ab` abort. Addresses as in {@link QemuTranslation}.
 * @example const early = (op: QemuUntranslated) => op.op === 'Di';
 */
export interface QemuUntranslated {
  readonly op: 'By' | 'Di' | 'Ab';
  readonly line: number;
  readonly sid: number;
  readonly iova: number;
  readonly iovaLo: number;
  readonly iovaHi: number;
  readonly isWrite: boolean;
}

/**
 * One line of QEMU's digest, told apart by `op`.
 * @example if (op.op === 'T') op.pa;
 */
export type QemuOp =
  | QemuTranslation
  | QemuCommand
  | QemuInvalidation
  | QemuRegisterWrite
  | QemuEvent
  | QemuUntranslated;

/**
 * A whole digest, in order; `lines` counts the unread ones too.
 * @example const bad = (d: QemuDigest) => d.unread.length;
 */
export interface QemuDigest {
  readonly ops: QemuOp[];
  readonly unread: UnreadLine[];
  readonly lines: number;
}

function hexWord(s: LineScanner): number {
  s.literal(' 0x');
  return s.hex();
}

function decimalWord(s: LineScanner): number {
  s.literal(' ');
  return s.signed();
}

function nameWord(s: LineScanner, expected: string): string {
  s.literal(' ');
  return s.name(expected);
}

function readTranslation(s: LineScanner, line: number): QemuOp {
  const sid = hexWord(s);
  s.literal(' 0x');
  const { lo, hi } = s.hex64();
  const pa = hexWord(s);
  const perm = decimalWord(s);
  return { op: 'T', line, sid, iova: fromLanes(lo, hi), iovaLo: lo, iovaHi: hi, pa, perm };
}

function readInvalidation(s: LineScanner, line: number): QemuOp {
  const vmid = decimalWord(s);
  const asid = decimalWord(s);
  const addr = hexWord(s);
  const tg = decimalWord(s);
  const numPages = hexWord(s);
  const ttl = decimalWord(s);
  const leaf = decimalWord(s) !== 0;
  const stage = decimalWord(s);
  return { op: 'I', line, vmid, asid, addr, tg, numPages, ttl, leaf, stage };
}

function readRegisterWrite(s: LineScanner, line: number): QemuOp {
  const offset = hexWord(s);
  s.literal(' 0x');
  const { lo, hi } = s.hex64();
  const size = decimalWord(s);
  if (size !== 4 && size !== 8) s.fail('a size of 4 or 8');
  return { op: 'W', line, offset, lo, hi, size };
}

function readUntranslated(
  s: LineScanner,
  op: QemuUntranslated['op'],
  line: number,
): QemuUntranslated {
  const sid = hexWord(s);
  s.literal(' 0x');
  const { lo, hi } = s.hex64();
  const isWrite = decimalWord(s) !== 0;
  return { op, line, sid, iova: fromLanes(lo, hi), iovaLo: lo, iovaHi: hi, isWrite };
}

function readOp(s: LineScanner, line: number): QemuOp {
  const op = s.word();
  switch (op) {
    case 'T':
      return readTranslation(s, line);
    case 'C':
      return { op, line, opcode: nameWord(s, 'a command name') };
    case 'I':
      return readInvalidation(s, line);
    case 'W':
      return readRegisterWrite(s, line);
    case 'E': {
      const type = nameWord(s, 'an event name');
      return { op, line, type, sid: hexWord(s) };
    }
    case 'By':
    case 'Di':
    case 'Ab':
      return readUntranslated(s, op, line);
    default:
      s.fail('T, C, I, W, E, By, Di or Ab');
      return { op: 'C', line, opcode: '' };
  }
}

/**
 * Reads `qemu-ops.txt`, the ordered digest of QEMU's SMMU trace. A malformed line is put into `unread`.
 * @example parseQemuOps('T 0x8 0xffffd000 0x46425000 3\n', 'qemu-ops.txt').ops[0]
 */
export function parseQemuOps(text: string, file: string): QemuDigest {
  const ops: QemuOp[] = [];
  const unread: UnreadLine[] = [];
  const s = new LineScanner();
  const lines = eachLine(text, (start, end, line) => {
    if (start === end) return;
    s.open(text, start, end);
    const op = readOp(s, line);
    if (s.done()) ops.push(op);
    else unread.push({ file, line, expected: s.expected });
  });
  return { ops, unread, lines };
}
