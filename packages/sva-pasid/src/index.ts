export {
  IOMMU_FIRST_GLOBAL_PASID,
  IOMMU_NO_PASID,
  IOMMU_PASID_INVALID,
  PASID_MAX,
  PasidAllocator,
  PasidError,
  type PasidErrorCode,
  type PasidSpace,
} from './pasid-allocator.ts';
