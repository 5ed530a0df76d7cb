// All of it: `npm run soak` sets the budget.
import './driver-contract.test.ts';
