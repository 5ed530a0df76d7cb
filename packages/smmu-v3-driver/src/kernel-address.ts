/** Addresses of entries, commands and events end at bit 51 for the kernel's masks, where the fields go up to bit 55 or 63. */
export const KERNEL_ADDRESS_END: number = 2 ** 52;

/** Bits 55:52 of an address in the upper lane of its doubleword: what those masks leave out. */
export const ABOVE_KERNEL_ADDRESS = 0x00f0_0000;

/** One past the last IOVA of 64 bits. */
export const SPACE_END: number = 2 ** 64;
