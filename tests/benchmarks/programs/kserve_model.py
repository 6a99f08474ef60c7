"""KServe's ModelServer with the model as its documentation writes one. Runs in the peer's own environment."""

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from session import open_session, predict


class Breast(Model):
    """The same model as every other server here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.session = open_session()
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        """Answer an Open Inference Protocol request."""
        labels, probabilities = predict(self.session, payload.inputs[0].as_numpy())
        outputs = [
            InferOutput("label", list(labels.shape), "INT64"),
            InferOutput("probabilities", list(probabilities.shape), "FP32"),
        ]
        for output, array in zip(outputs, (labels, probabilities), strict=True):
            output.set_data_from_numpy(array, binary_data=False)
        return InferResponse(payload.id or "1", self.name, outputs)


if __name__ == "__main__":
    ModelServer().start([Breast("breast")])
