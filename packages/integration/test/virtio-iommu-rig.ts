/** The first endpoint of the guest. */
export const ENDPOINT = 0x101;

/** A page of the guest, as the guest knows it. */
export const GUEST_PAGE = 0x4400_0000;
