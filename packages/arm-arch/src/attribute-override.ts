/** SHCFG of STE and GBPA, IHI 0070 5.2. @example SHCFG_NAMES[1] // 'incoming' */
export const SHCFG_NAMES: Readonly<Record<number, string>> = {
  0: 'Non-shareable',
  1: 'incoming',
  2: 'Outer Shareable',
  3: 'Inner Shareable',
};

/** PRIVCFG of STE and GBPA, IHI 0070 5.2. @example PRIVCFG_NAMES[3] // 'privileged' */
export const PRIVCFG_NAMES: Readonly<Record<number, string>> = {
  0: 'incoming',
  2: 'unprivileged',
  3: 'privileged',
};

/** INSTCFG of STE and GBPA, IHI 0070 5.2. @example INSTCFG_NAMES[2] // 'data' */
export const INSTCFG_NAMES: Readonly<Record<number, string>> = {
  0: 'incoming',
  2: 'data',
  3: 'instruction',
};
