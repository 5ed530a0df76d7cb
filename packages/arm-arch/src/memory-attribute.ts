import type { FieldRow } from '@iommukit/bits';

type Names = NonNullable<FieldRow['of']>;

/** SH fields, IHI 0070 5.2; 1 acts as 0. @example SHAREABILITY_NAMES[3] // 'Inner Shareable' */
export const SHAREABILITY_NAMES: Names = {
  0: 'Non-shareable',
  2: 'Outer Shareable',
  3: 'Inner Shareable',
};

/** S1CIR and S1COR of an STE, IHI 0070 5.2. @example CACHEABILITY_NAMES[1] // 'Write-Back Read-Allocate' */
export const CACHEABILITY_NAMES: Names = {
  0: 'Non-cacheable',
  1: 'Write-Back Read-Allocate',
  2: 'Write-Through Read-Allocate',
  3: 'Write-Back no Read-Allocate',
};

/** IR and OR of a CD, S2IR0 and S2OR0 of an STE, IHI 0070 5.2. @example WALK_CACHEABILITY_NAMES[0] // 'Non-cacheable' */
export const WALK_CACHEABILITY_NAMES: Names = {
  0: 'Non-cacheable',
  1: 'Write-Back Read-Allocate Write-Allocate',
  2: 'Write-Through Read-Allocate',
  3: 'Write-Back Read-Allocate no Write-Allocate',
};

/** TG0 and S2TG, IHI 0070 5.4. @example TG0_NAMES[2] // '16 KiB' */
export const TG0_NAMES: Names = { 0: '4 KiB', 1: '64 KiB', 2: '16 KiB' };

/** TG1, IHI 0070 5.4. @example TG1_NAMES[2] // '4 KiB' */
export const TG1_NAMES: Names = { 1: '16 KiB', 2: '4 KiB', 3: '64 KiB' };

/** OAS, IPS and S2PS, IHI 0070 6.3.6. @example OAS_NAMES[5] // '48 bits' */
export const OAS_NAMES: Names = {
  0: '32 bits',
  1: '36 bits',
  2: '40 bits',
  3: '42 bits',
  4: '44 bits',
  5: '48 bits',
  6: '52 bits',
  7: '56 bits',
};
