/** Registers of one context bank, bytes from its start. */
export const BANK = {
  /** 1: DMA through the bank is translated; 0: it is refused. */
  enable: 0x0,
  /** The top table, with the walk attributes of TTBR0 in its low bits. */
  ttbr: 0x4,
  /** Tag of everything that is cached through the bank. */
  asid: 0x8,
  /** 1 after a fault; writing clears it. */
  faultStatus: 0xc,
  /** Where the first fault since then was, bytes. */
  faultAddress: 0x10,
} as const;

/** Bytes between the banks, and their number. */
export const BANK_BYTES = 0x1000;
export const BANKS = 2;

/** The TLB that the banks share, bytes from the start of the unit. */
export const TLB = {
  /** Asks to drop everything with the tag that is written. */
  invalidateAsid: 0x2000,
  /** Does what was asked for. */
  sync: 0x2004,
} as const;

/** Bytes of all registers. */
export const GPU_FRAME_BYTES = 0x3000;
