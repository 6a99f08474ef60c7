"""A business metric to check and to break: the mean amount of the loans that were approved."""

import numpy as np

from serinus.monitors.business_metric import BusinessMetric


class ApprovedAmount(BusinessMetric):
    """What the example plug-in has, too."""

    name = "approved_amount"
    about = "The mean amount of approved loans."
    unit = "euros"
    window = 400
    learns = 12

    def watches(self, signature):
        return any(field.name == "amount" for field in signature.inputs)

    def values(self, record):
        if "approve" not in record.outputs:
            return ()
        return np.where(record.outputs["approve"] == 1, record.inputs["amount"], np.nan)
