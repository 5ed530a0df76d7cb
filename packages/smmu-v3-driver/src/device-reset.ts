import {
  CR0,
  CR1,
  CR2,
  GBPA,
  IRQ_CTRL,
  REGISTER_OFFSET,
  STRTAB_BASE_CFG,
} from '@iommukit/arm-arch';
import { ERRNO, type MmioFrame, type Platform } from '@iommukit/platform';
import { CommandBatch } from './command-batch.ts';
import type { CommandQueue } from './command-queue.ts';
import type { LogSink } from './driver-log.ts';
import type { EventQueue } from './event-queue.ts';
import type { PageRequestQueue } from './page-request-queue.ts';
import { baseRegister, type StreamTable } from './stream-table.ts';

/** How long the kernel waits for an acknowledge register (`ARM_SMMU_POLL_TIMEOUT_US`). */
const ACK_TIMEOUT_US = 1_000_000;

const AT = REGISTER_OFFSET;
const COMMAND_QUEUE = { base: AT.CMDQ_BASE, prod: AT.CMDQ_PROD, cons: AT.CMDQ_CONS };
const EVENT_QUEUE = { base: AT.EVENTQ_BASE, prod: AT.EVENTQ_PROD, cons: AT.EVENTQ_CONS };
const PAGE_REQUEST_QUEUE = { base: AT.PRIQ_BASE, prod: AT.PRIQ_PROD, cons: AT.PRIQ_CONS };

/** What a reset brings up. */
export interface ResetTarget {
  readonly registers: MmioFrame;
  readonly platform: Platform;
  readonly log: LogSink;
  readonly strtab: StreamTable;
  readonly cmdq: CommandQueue;
  readonly evtq: EventQueue;
  /** Null without page requests. */
  readonly priq: PageRequestQueue | null;
  /** The SMMU has EL2 translation regimes, whose TLB entries a reset must drop too. */
  readonly hyp: boolean;
  /** The SMMU does ATS: translated transactions are checked against their STE. */
  readonly ats: boolean;
  /** TLB maintenance that CPUs broadcast: ignored, as Linux asks for, or heard. */
  readonly broadcastTlbi: 'ignored' | 'heard';
}

/** Brings an SMMU from any state to translating with empty caches (`arm_smmu_device_reset`): 0 or -ETIMEDOUT. */
export function resetDevice(target: ResetTarget): number {
  const { registers, log } = target;
  const fail = (text: string): number => {
    log({ level: 'err', text });
    return -ERRNO.ETIMEDOUT;
  };
  if (CR0.get.SMMUEN([registers.read32(AT.CR0), 0]) === 1) {
    log({ level: 'warn', text: 'SMMU currently enabled! Resetting...' });
    abortBypassed(target);
  }
  if (!writeAcked(target, AT.CR0, AT.CR0ACK, 0)) return fail('failed to clear cr0');
  writeTables(target);

  writeQueue(registers, target.cmdq, COMMAND_QUEUE);
  if (!enable(target, { CMDQEN: 1 })) return fail('failed to enable command queue');
  invalidateAll(target);

  writeQueue(registers, target.evtq, EVENT_QUEUE);
  const bits: Enables = { CMDQEN: 1, EVENTQEN: 1 };
  if (!enable(target, bits)) return fail('failed to enable event queue');
  const { priq } = target;
  if (priq !== null) {
    writeQueue(registers, priq, PAGE_REQUEST_QUEUE);
    bits.PRIQEN = 1;
    if (!enable(target, bits)) return fail('failed to enable PRI queue');
  }
  if (target.ats) {
    bits.ATSCHK = 1;
    if (!enable(target, bits)) return fail('failed to enable ATS check');
  }

  if (!writeAcked(target, AT.IRQ_CTRL, AT.IRQ_CTRLACK, 0)) {
    log({ level: 'err', text: 'failed to disable irqs' });
    return fail('failed to setup irqs');
  }
  registers.write64(AT.GERROR_IRQ_CFG0, 0, 0);
  registers.write64(AT.EVENTQ_IRQ_CFG0, 0, 0);
  if (priq !== null) registers.write64(AT.PRIQ_IRQ_CFG0, 0, 0);
  const priqIrq = priq === null ? {} : ({ PRIQ_IRQEN: 1 } as const);
  const irqs = IRQ_CTRL.encode({ EVENTQ_IRQEN: 1, GERROR_IRQEN: 1, ...priqIrq })[0] ?? 0;
  // Linux goes on without interrupts: events then stay in their queue.
  if (!writeAcked(target, AT.IRQ_CTRL, AT.IRQ_CTRLACK, irqs))
    log({ level: 'warn', text: 'failed to enable irqs' });
  if (!enable(target, { ...bits, SMMUEN: 1 })) return fail('failed to enable SMMU interface');
  return 0;
}

/** Switches translation and all queues off (`arm_smmu_device_disable`); what comes then is up to GBPA. 0 or -ETIMEDOUT. */
export function disableDevice(target: Pick<ResetTarget, 'registers' | 'platform' | 'log'>): number {
  if (writeAcked(target, AT.CR0, AT.CR0ACK, 0)) return 0;
  target.log({ level: 'err', text: 'failed to clear cr0' });
  return -ERRNO.ETIMEDOUT;
}

function writeTables({ registers, strtab, broadcastTlbi }: ResetTarget): void {
  // Tables and queues: inner shareable, write-back.
  const cr1 = CR1.encode({
    TABLE_SH: 3,
    TABLE_OC: 1,
    TABLE_IC: 1,
    QUEUE_SH: 3,
    QUEUE_OC: 1,
    QUEUE_IC: 1,
  });
  registers.write32(AT.CR1, cr1[0] ?? 0);
  registers.write32(
    AT.CR2,
    CR2.encode({ PTM: broadcastTlbi === 'heard' ? 0 : 1, RECINVSID: 1 })[0] ?? 0,
  );
  const { base, format, split, log2Size } = strtab.registers;
  writeBase(registers, AT.STRTAB_BASE, base, 0);
  const cfg = STRTAB_BASE_CFG.encode({ FMT: format, SPLIT: split, LOG2SIZE: log2Size });
  registers.write32(AT.STRTAB_BASE_CFG, cfg[0] ?? 0);
}

/** Points the SMMU to a queue, empty: base, then indices (IHI 0070 6.3). */
function writeQueue(
  registers: MmioFrame,
  queue: { readonly base: number; readonly lg2: number; reset(): void },
  at: { readonly base: number; readonly prod: number; readonly cons: number },
): void {
  queue.reset();
  writeBase(registers, at.base, queue.base, queue.lg2);
  registers.write32(at.prod, 0);
  registers.write32(at.cons, 0);
}

/** Drops configuration and translations of before. A SYNC that times out is printed and does not end the reset, as in Linux. */
function invalidateAll({ cmdq, hyp }: ResetTarget): void {
  const batch = new CommandBatch();
  batch.cfgiAll();
  cmdq.issueSync(batch);
  if (hyp) {
    batch.reset();
    batch.tlbiEl2All();
    cmdq.issueSync(batch);
  }
  batch.reset();
  batch.tlbiNsnhAll();
  cmdq.issueSync(batch);
}

/** Bits of CR0. */
interface Enables {
  CMDQEN?: 1;
  EVENTQEN?: 1;
  PRIQEN?: 1;
  ATSCHK?: 1;
  SMMUEN?: 1;
}

function enable(target: ResetTarget, bits: Enables): boolean {
  return writeAcked(target, AT.CR0, AT.CR0ACK, CR0.encode(bits)[0] ?? 0);
}

/** Writes a register and waits until its acknowledge register reads the same (`arm_smmu_write_reg_sync`). */
function writeAcked(
  target: Pick<ResetTarget, 'registers' | 'platform'>,
  offset: number,
  ack: number,
  value: number,
): boolean {
  const { registers, platform } = target;
  registers.write32(offset, value);
  return platform.pollUntil(() => registers.read32(ack) === value, ACK_TIMEOUT_US);
}

function writeBase(registers: MmioFrame, offset: number, base: number, low: number): void {
  const [lo, hi] = baseRegister(base, low);
  registers.write64(offset, lo, hi);
}

/** While SMMUEN is 0 transactions shall abort, not pass (`arm_smmu_update_gbpa`). */
function abortBypassed({ registers, platform, log }: ResetTarget): void {
  const offset = AT.GBPA;
  const idle = (): boolean => GBPA.get.Update([registers.read32(offset), 0]) === 0;
  if (!platform.pollUntil(idle, ACK_TIMEOUT_US)) return;
  const words = new Uint32Array([registers.read32(offset), 0]);
  GBPA.set.ABORT(words, 1);
  GBPA.set.Update(words, 1);
  registers.write32(offset, words[0] ?? 0);
  if (!platform.pollUntil(idle, ACK_TIMEOUT_US))
    log({ level: 'err', text: 'GBPA not responding to update' });
}
