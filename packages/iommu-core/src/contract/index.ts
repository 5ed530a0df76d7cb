export { type DriverContractCase, driverContract } from './driver-contract.ts';
export { DriverContractError, type DriverContractOperands } from './driver-contract-error.ts';
export type { DriverParts, DriverSubject } from './driver-subject.ts';
