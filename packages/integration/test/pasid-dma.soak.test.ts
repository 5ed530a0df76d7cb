// All of it: `npm run soak` sets the budget.
import './pasid-dma.test.ts';
