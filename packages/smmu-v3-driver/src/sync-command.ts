import { CMD_SYNC, COMMAND_BYTES, OPCODE, queueIndex, SYNC_CS } from '@iommukit/arm-arch';

/** Attributes of the MSI write, which Linux sets whether or not there is one: inner shareable, write-back. */
const MSI_WRITE = { MSH: 3, MSIAttr: 15 } as const;

/** The CMD_SYNC that Linux appends without MSI polling: CS = SEV, also where the SMMU cannot send events. */
export const SYNC_WORDS: Uint32Array = CMD_SYNC.encode({
  Opcode: OPCODE.SYNC,
  CS: SYNC_CS.SEV,
  ...MSI_WRITE,
});

/**
 * How a producer waits for its SYNC, and where the SYNC stands.
 * @example const at: SyncSlot = { base: cmdq.base, lg2: cmdq.lg2, prod: cmdq.prod, msiPolling: true, busyPolling: false };
 */
export interface SyncSlot {
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its entries. */
  readonly lg2: number;
  /** Producer index of the SYNC, wrap bit and flags included. */
  readonly prod: number;
  /** The SMMU writes zero over the command's first word when it is done (option MSIPOLL). */
  readonly msiPolling: boolean;
  /** A secondary queue whose producer polls CONS and wants no signal (Tegra241 virtual queues). */
  readonly busyPolling: boolean;
}

/**
 * The CMD_SYNC for a slot (`arm_smmu_cmdq_build_sync_cmd`), four lanes: an MSI to the slot itself, an event, or no signal.
 * @example syncCommand({ base: 0x8000_0000, lg2: 8, prod: 1, msiPolling: true, busyPolling: false })[2] // 0x8000_0010
 */
export function syncCommand(slot: SyncSlot): Uint32Array {
  const signal = slot.msiPolling ? SYNC_CS.IRQ : SYNC_CS.SEV;
  return CMD_SYNC.encode({
    Opcode: OPCODE.SYNC,
    CS: slot.busyPolling ? SYNC_CS.NONE : signal,
    MSIAddress: slot.msiPolling ? slot.base + queueIndex(slot.prod, slot.lg2) * COMMAND_BYTES : 0,
    ...MSI_WRITE,
  });
}
