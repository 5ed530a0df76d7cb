// All of it: `npm run soak` sets the budget.
import './iova-probes.test.ts';
