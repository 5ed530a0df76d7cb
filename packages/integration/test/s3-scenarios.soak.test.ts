// All of it: `npm run soak` sets the budget.
import './s3-scenarios.test.ts';
