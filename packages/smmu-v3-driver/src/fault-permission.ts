/** Bits of `DeviceFault.perm`: what the device asked for (`IOMMU_FAULT_PERM_*` of the kernel). */
export const FAULT_PERM = { READ: 1, WRITE: 2, EXEC: 4, PRIV: 8 } as const;
